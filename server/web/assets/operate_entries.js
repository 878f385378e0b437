// The catalogue as operators see and change it.

import { html, useState } from "./vendor/preact-htm.js";
import { call } from "./api.js";
import { Dialog, Field, Table, Trouble } from "./parts.js";
import { toast } from "./store.js";
import { plural, tried } from "./words.js";

const MOST_CREDITS = 2 ** 31 - 1;
const change = (entry, body) => call("PUT", `/api/operate/entries/${encodeURIComponent(entry.modelKey)}`, { body });

/** Prices, offers, and what each entry did in the last hour. */
export function Entries({ entries, malformed, onChanged }) {
  const [priced, setPriced] = useState(null); // the entry whose price is being changed
  const [trouble, setTrouble] = useState(null);

  const offer = async (entry) => {
    const wrong = await tried(() => change(entry, { enabled: !entry.enabled }));
    setTrouble(wrong);
    if (!wrong) toast(`${entry.name} is ${entry.enabled ? "not on offer" : "on offer"} now.`);
    await onChanged();
  };
  const save = async (creditCost) => {
    const wrong = await tried(() => change(priced, { creditCost }));
    if (wrong) return wrong;
    toast(`${priced.name} costs ${plural(creditCost, "credit")} now.`);
    setPriced(null);
    await onChanged();
    return null;
  };

  const columns = ["Entry", "Tier", "Price", "Drawn in the last hour", "Mean", "Seconds by stage", "On offer"];
  return html`<${Table} title="Entries" columns=${columns} empty="The catalogue is empty. Run avatar-creator seed."
    rows=${entries.map((entry) => [
      html`${entry.name}<br /><span class="hint">${entry.modelKey}</span>`,
      entry.tier,
      html`<button type="button" class="plain small" aria-label=${`${plural(entry.creditCost, "credit")}, change the price of ${entry.name}`} onClick=${() => setPriced(entry)}>${plural(entry.creditCost, "credit")}</button>`,
      entry.delivered,
      entry.meanSeconds === null ? "–" : `${entry.meanSeconds.toFixed(1)} s`,
      stages(entry.stages),
      html`<input type="checkbox" role="switch" checked=${entry.enabled} aria-label=${`${entry.name} is on offer`} onChange=${() => offer(entry)} />`,
    ])}>
    <${Trouble} text=${trouble} />
    <${Trouble} text=${malformed.length ? `${malformed.join(". ")}. It is not on offer until it is mended in the database.` : null} />
    ${priced && html`<${Price} entry=${priced} onSave=${save} onClose=${() => setPriced(null)} />`}
  <//>`;
}

const stages = (seconds) =>
  Object.entries(seconds)
    .map(([stage, spent]) => `${stage} ${spent.toFixed(2)}`)
    .join(", ") || "–";

function Price({ entry, onSave, onClose }) {
  const [price, setPrice] = useState(String(entry.creditCost));
  const [wrong, setWrong] = useState(null);
  const [busy, setBusy] = useState(false);
  const save = async (event) => {
    event.preventDefault();
    if (!/^\d+$/.test(price) || Number(price) > MOST_CREDITS) return setWrong(`A price is a whole number from 0 to ${MOST_CREDITS}.`);
    setBusy(true);
    const trouble = await onSave(Number(price));
    if (!trouble) return; // the dialog is gone
    setWrong(trouble);
    setBusy(false);
  };
  return html`<${Dialog} title=${`Price of ${entry.name}`} onClose=${onClose}>
    <form class="rename" onSubmit=${save}>
      <${Field} id="price" label="Credits for a generation" wrong=${wrong} hint="It holds from the next generation on. A quote that was given before still binds." control=${(attributes) =>
        html`<input ...${attributes} inputmode="numeric" autofocus value=${price} onInput=${(event) => setPrice(event.target.value.trim())} />`} />
      <div class="actions">
        <button type="submit" class="primary" disabled=${busy}>Save</button>
        <button type="button" class="plain" onClick=${onClose}>Cancel</button>
      </div>
    </form>
  <//>`;
}
