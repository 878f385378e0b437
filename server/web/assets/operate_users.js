// Users as operators look after them: tier, credits and keys.

import { html, useEffect, useState } from "./vendor/preact-htm.js";
import { call, uniqueKey } from "./api.js";
import { Confirm, Dialog, Field, Table, Trouble } from "./parts.js";
import { toast } from "./store.js";
import { inWords, moment, plural, tried } from "./words.js";

const TIERS = ["free", "basic", "pro", "enterprise"];
const MOST_CREDITS = 2 ** 31 - 1;
const PAUSE_MS = 250; // after the last letter
const of = (user) => `/api/operate/users/${encodeURIComponent(user.id)}`;

/** The newest users, or those whose id or email begins so. */
export function Users() {
  const [beginning, setBeginning] = useState("");
  const [users, setUsers] = useState([]);
  const [open, setOpen] = useState(null);
  const [trouble, setTrouble] = useState(null);

  const read = async () => {
    try {
      const found = await call("GET", `/api/operate/users?limit=20&beginning=${encodeURIComponent(beginning)}`);
      setUsers(found.users);
      setTrouble(null);
    } catch (error) {
      setTrouble(inWords(error));
    }
  };
  useEffect(() => {
    const timer = setTimeout(read, beginning ? PAUSE_MS : 0);
    return () => clearTimeout(timer);
  }, [beginning]);
  const shown = users.find(({ id }) => id === open);

  return html`<${Table} title="Users" columns=${["User", "Tier", "To spend", "Held", "Since", ""]} empty="Nobody is called so."
    rows=${users.map((user) => [
      html`${user.id}${user.isOperator && html` <span class="badge plain-badge">operator</span>`}<br /><span class="hint">${user.email ?? ""}</span>`,
      user.tier,
      user.available,
      user.held,
      moment(user.createdAt),
      html`<button type="button" class="plain small" aria-label=${`Look after ${user.id}`} onClick=${() => setOpen(user.id)}>Look after</button>`,
    ])}>
    <${Field} id="beginning" label="Find by the beginning of the id or email" control=${(attributes) =>
      html`<input ...${attributes} type="search" autocomplete="off" value=${beginning} onInput=${(event) => setBeginning(event.target.value)} />`} />
    <${Trouble} text=${trouble} />
    ${shown && html`<${User} user=${shown} onChanged=${read} onClose=${() => setOpen(null)} />`}
  <//>`;
}

function User({ user, onChanged, onClose }) {
  const [doomed, setDoomed] = useState(null); // the key that is to be revoked
  const revoke = async () => {
    const wrong = await tried(() => call("DELETE", `${of(user)}/keys/${encodeURIComponent(doomed.id)}`));
    if (wrong) return wrong;
    toast(`The key ${doomed.prefix} is revoked.`);
    setDoomed(null);
    return null;
  };
  if (doomed)
    return html`<${Confirm} title=${`Revoke ${doomed.prefix}?`} text="Programs and browsers that sign in with it are signed out at once." action="Revoke" onConfirm=${revoke} onClose=${() => setDoomed(null)} />`;
  return html`<${Dialog} title=${user.id} onClose=${onClose} wide>
    <p class="hint">${[user.email, `${plural(user.available, "credit")} to spend`, `${user.held} held`].filter(Boolean).join(" · ")}</p>
    <${TierOf} user=${user} onChanged=${onChanged} />
    <${Grant} user=${user} onChanged=${onChanged} />
    <${Keys} user=${user} onRevoke=${setDoomed} />
  <//>`;
}

function TierOf({ user, onChanged }) {
  const [trouble, setTrouble] = useState(null);
  const choose = async (event) => {
    const tier = event.target.value;
    const wrong = await tried(() => call("PUT", of(user), { body: { tier } }));
    setTrouble(wrong);
    if (!wrong) toast(`${user.id} is ${tier} now.`);
    await onChanged();
  };
  return html`<${Field} id="tier" label="Tier" wrong=${trouble} control=${(attributes) =>
    html`<select ...${attributes} value=${user.tier} onChange=${choose}>${TIERS.map((tier) => html`<option key=${tier} value=${tier}>${tier}</option>`)}</select>`} />`;
}

/** A form that keeps its reference until the grant is made: pressed twice, it grants once. */
function Grant({ user, onChanged }) {
  const [amount, setAmount] = useState("");
  const [reason, setReason] = useState("");
  const [reference, setReference] = useState(uniqueKey);
  const [wrong, setWrong] = useState(null);
  const grant = async (event) => {
    event.preventDefault();
    if (!/^[1-9]\d*$/.test(amount) || Number(amount) > MOST_CREDITS) return setWrong(`An amount is a whole number from 1 to ${MOST_CREDITS}.`);
    const body = { amount: Number(amount), reference, ...(reason.trim() ? { reason } : {}) };
    const trouble = await tried(() => call("POST", `${of(user)}/grants`, { body }));
    setWrong(trouble);
    if (trouble) return;
    toast(`${user.id} got ${plural(Number(amount), "credit")}.`);
    setAmount("");
    setReason("");
    setReference(uniqueKey());
    await onChanged();
  };
  return html`<form class="grant" onSubmit=${grant}>
    <${Field} id="amount" label="Grant credits" wrong=${wrong} control=${(attributes) =>
      html`<input ...${attributes} inputmode="numeric" autocomplete="off" value=${amount} onInput=${(event) => setAmount(event.target.value.trim())} />`} />
    <${Field} id="reason" label="Reason, which the user sees" control=${(attributes) =>
      html`<input ...${attributes} maxlength="300" autocomplete="off" placeholder="Granted by the operator" value=${reason} onInput=${(event) => setReason(event.target.value)} />`} />
    <button type="submit" class="plain">Grant</button>
  </form>`;
}

function Keys({ user, onRevoke }) {
  const [keys, setKeys] = useState([]);
  const [token, setToken] = useState(null); // of a key that was just issued
  const [trouble, setTrouble] = useState(null);

  const read = async () => setTrouble(await tried(async () => setKeys((await call("GET", `${of(user)}/keys`)).keys)));
  useEffect(() => void read(), [user.id]);
  const issue = async () => {
    const wrong = await tried(async () => setToken((await call("POST", `${of(user)}/keys`, { body: { label: "operator" } })).token));
    if (wrong) setTrouble(wrong);
    else await read();
  };
  return html`<${Table} title="Keys" level=${3} columns=${["Begins with", "Label", "Last used", "Expires", ""]} empty="The user has no key."
    rows=${keys.map((key) => [
      html`<code>${key.prefix}</code>`,
      key.label,
      key.lastUsedAt ? moment(key.lastUsedAt) : "never",
      key.expiresAt ? moment(key.expiresAt) : "never",
      html`<button type="button" class="quiet small" aria-label=${`Revoke ${key.prefix}`} onClick=${() => onRevoke(key)}>Revoke</button>`,
    ])}>
    <div class="actions"><button type="button" class="plain" onClick=${issue}>Issue a key</button></div>
    <div role="status">${token && html`<p>The new key is shown only now: <code class="token">${token}</code></p>`}</div>
    <${Trouble} text=${trouble} />
  <//>`;
}
