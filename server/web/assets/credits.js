// The user's credits: what can be spent, what is held, and how it came to that.

import { html, useEffect, useState } from "./vendor/preact-htm.js";
import { call, readBalance } from "./api.js";
import { hasEnded } from "./jobs.js";
import { Empty, Heading, Loading, Trouble } from "./parts.js";
import { useApp } from "./store.js";
import { inWords, moment, plural } from "./words.js";

export function CreditsView() {
  const { balance, jobs } = useApp();
  const [entries, setEntries] = useState(null);
  const [trouble, setTrouble] = useState(null);
  const unfinished = new Set(jobs.filter((job) => !hasEnded(job)).map(({ id }) => id));

  const read = async () => {
    setTrouble(null);
    try {
      const [history] = await Promise.all([call("GET", "/api/credits/history"), readBalance()]);
      setEntries(history);
    } catch (error) {
      setTrouble(inWords(error));
    }
  };
  useEffect(() => void read(), [unfinished.size]);

  const held = (entries ?? []).filter((entry) => stateOf(entry, entries, unfinished) === "held");
  return html`<div class="credits">
    <${Heading}>Credits<//>
    <div class="figures">
      <div class="card figure"><span class="figure-number">${balance ?? "…"}</span><span>to spend</span></div>
      <div class="card figure"><span class="figure-number">${held.reduce((sum, { amount }) => sum - amount, 0)}</span><span>held for what is being drawn</span></div>
    </div>
    <p class="hint">A price is held when you press Draw, and taken when the avatar is there. What is not delivered is given back.</p>
    <${Trouble} text=${trouble}><button type="button" class="plain" onClick=${read}>Try again</button><//>
    ${!entries && !trouble && html`<${Loading} what="the ledger" shapes=${4} />`}
    ${entries?.length === 0 && html`<${Empty} title="Nothing here yet"><p>Credits that you get and spend are listed here.</p><//>`}
    ${entries?.length > 0 && html`<${Ledger} entries=${entries} unfinished=${unfinished} />`}
  </div>`;
}

function Ledger({ entries, unfinished }) {
  return html`<div class="table-place" role="region" aria-label="Ledger" tabindex="0">
    <table>
      <caption class="hidden">The last ${plural(entries.length, "change")} of your credits, newest first</caption>
      <thead><tr><th scope="col">When</th><th scope="col">What</th><th scope="col" class="number">Credits</th><th scope="col" class="number">Then to spend</th></tr></thead>
      <tbody>
        ${entries.map((entry) => {
          const state = stateOf(entry, entries, unfinished);
          return html`<tr key=${entry.id}>
            <td>${moment(entry.createdAt)}</td>
            <td>${entry.description} <span class=${`badge ${state.replaceAll(" ", "-")}`}>${state}</span></td>
            <td class="number">${signed(entry.amount)}</td>
            <td class="number">${entry.balance}</td>
          </tr>`;
        })}
      </tbody>
    </table>
  </div>`;
}

const signed = (amount) => (amount > 0 ? `+${amount}` : String(amount).replace("-", "\u2212"));

const STATES = { purchase: "bought", bonus: "granted", refund: "given back" };

/** What became of a change. A hold is open as long as its generation is, and taken unless it was given back. */
function stateOf(entry, entries, unfinished) {
  if (entry.type !== "usage") return STATES[entry.type] ?? entry.type;
  if (unfinished.has(entry.referenceId)) return "held";
  const back = entries.find((other) => other.type === "refund" && other.referenceId === entry.referenceId);
  if (!back) return "taken";
  return back.amount + entry.amount === 0 ? "returned" : "taken in part";
}
