// What operators see: whether the service is well, what waits, what is drawn, and what it costs.

import { html, useEffect, useState } from "./vendor/preact-htm.js";
import { call } from "./api.js";
import { Entries } from "./operate_entries.js";
import { Users } from "./operate_users.js";
import { Heading, Loading, Table, Trouble } from "./parts.js";
import { ago, duration, inWords, mebibytes, plural } from "./words.js";

const PERIOD_MS = 5000;

export function OperateView() {
  const [found, setFound] = useState(null);
  const [trouble, setTrouble] = useState(null);

  const read = async () => {
    try {
      setFound(await call("GET", "/api/operate"));
      setTrouble(null);
    } catch (error) {
      setTrouble(inWords(error));
    }
  };
  useEffect(() => {
    read();
    const timer = setInterval(() => document.hidden || read(), PERIOD_MS);
    return () => clearInterval(timer);
  }, []);

  return html`<div class="operate">
    <${Heading} aside=${found && html`<p class="hint">As it was at ${new Date(found.at).toLocaleTimeString()}</p>`}>Operate<//>
    <${Trouble} text=${trouble}><button type="button" class="plain" onClick=${read}>Try again</button><//>
    ${!found && !trouble && html`<${Loading} what="the state of the service" shapes=${4} />`}
    ${found && html`<${State} found=${found} />`}
    ${found && html`<${Workers} workers=${found.workers} at=${found.at} />`}
    ${found && html`<${Queue} queue=${found.queue} />`}
    ${found && html`<${Entries} entries=${found.entries} malformed=${found.malformed} onChanged=${read} />`}
    ${found && html`<${Failures} failures=${found.failures} />`}
    ${(found || trouble) && html`<${Users} />`}
  </div>`;
}

/** Whether all is well, and the figures that an operator looks at first. */
function State({ found }) {
  const { status, checks, queue, entries, hosted, creditsHeld, audit } = found;
  const wrong = Object.entries(checks).filter(([, sentence]) => sentence !== "ok");
  const waiting = queue.reduce((sum, tier) => sum + tier.waiting, 0);
  const perMinute = entries.reduce((sum, entry) => sum + entry.perMinute, 0);
  return html`<section aria-labelledby="state-title" class="part">
    <h2 id="state-title">State</h2>
    ${status === "ok" && html`<p class="well">All is well: the database, the catalogue, the workers, Redis and the disk.</p>`}
    ${wrong.length > 0 &&
    html`<div class=${status === "unavailable" ? "trouble" : "warning"}>
      <p>${status === "unavailable" ? "Generations are not accepted." : "Generations are accepted, but not all is well."}</p>
      <ul>${wrong.map(([part, sentence]) => html`<li key=${part}><b>${part}</b>: ${sentence}</li>`)}</ul>
    </div>`}
    <div class="figures wide">
      <${Figure} number=${waiting} words="waiting" />
      <${Figure} number=${perMinute.toFixed(perMinute < 10 ? 1 : 0)} words="drawn a minute, in the last hour" />
      <${Figure} number=${creditsHeld} words="credits held" />
      <${Figure} number=${dollars(hosted.spentUsd)} words=${hosted.budgetUsd === null ? "spent at hosted providers today" : `of ${dollars(hosted.budgetUsd)} spent at hosted providers today`} />
    </div>
    <p class="hint">${auditInWords(audit)}</p>
  </section>`;
}

function Figure({ number, words }) {
  return html`<div class="card figure"><span class="figure-number">${number}</span><span>${words}</span></div>`;
}

const dollars = (amount) => `$${amount.toFixed(2)}`;

function auditInWords(audit) {
  if (!audit) return "The ledger was not audited yet.";
  if (audit.passed) return `The ledger was audited ${ago(audit.endedAt)}: every account is what was posted to it, and all postings sum to zero.`;
  return `The ledger does not add up: ${plural(audit.driftingAccounts, "account")} differ from what was posted to them, and all postings sum to ${audit.postingsSum}. Run avatar-creator doctor.`;
}

function Workers({ workers, at }) {
  const columns = ["Worker", "State", "Device", "Memory", "Resident models", "Heartbeat"];
  return html`<${Table} title="Workers" columns=${columns} empty="No worker was seen. Nothing is drawn until one is started."
    rows=${workers.map((worker) => [
      html`${worker.name}<br /><span class="hint">${worker.backend}</span>`,
      html`<span class=${`badge plain-badge ${worker.state}`}>${worker.drawing ? `draws ${worker.drawing}` : worker.state}</span>${worker.trouble && html`<p class="wrong">${worker.trouble}</p>`}`,
      worker.device ?? "not told",
      memory(worker),
      worker.resident.length ? worker.resident.join(", ") : "none",
      ago(worker.seenAt, at),
    ])} />`;
}

function memory({ memoryUsedMib: used, memoryTotalMib: total }) {
  if (used === null || total === null) return "not told";
  return html`${mebibytes(used)} of ${mebibytes(total)}<br /><meter min="0" max=${total} value=${used} aria-label="Memory in use"></meter>`;
}

function Queue({ queue }) {
  return html`<${Table} title="Queue" columns=${["Tier", "Waiting", "The oldest waits"]}
    rows=${queue.map(({ tier, waiting, oldestSeconds }) => [tier, waiting, waiting ? duration(oldestSeconds) : "–"])} />`;
}

function Failures({ failures }) {
  return html`<${Table} title="Failures of the last hour" columns=${["Cause", "Generations"]} empty="None."
    rows=${Object.entries(failures)} />`;
}
