// What becomes of a wish: its place, its steps, its image, or why there is none.

import { html, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { ask } from "./api.js";
import { Tile } from "./gallery.js";
import { cancel, dismiss, hasEnded } from "./jobs.js";
import { Empty, Trouble } from "./parts.js";
import { Record } from "./record.js";
import { useApp } from "./store.js";
import { duration, inWords, phaseInWords, plural } from "./words.js";

const LATEST = 6;
const STILL_LOOKING_MS = 8000; // previews are made for 20 s after a look

/** All that is followed, newest first; without any, the latest avatars. */
export function Stage() {
  const { jobs } = useApp();
  const [open, setOpen] = useState(null); // the id of the avatar whose record is shown
  const [latest, setLatest] = useState([]);
  const idle = jobs.length === 0;
  useEffect(() => {
    const read = async () => setLatest((await ask("GET", `/avatars?limit=${LATEST}`)).avatars);
    if (idle) read().catch(() => {}); // the form works without
  }, [idle, open]);
  return html`<section class="stage" aria-label="What is being drawn">
    ${idle && latest.length === 0 && html`<${Empty} title="Nothing is being drawn"><p>Describe somebody and press Draw. What is drawn is shown here, step by step.</p><//>`}
    ${idle && latest.length > 0 && html`<h2>Your latest avatars</h2>`}
    ${idle && latest.length > 0 && html`<ul class="grid">${latest.map((avatar) => html`<${Tile} key=${avatar.id} avatar=${avatar} onOpen=${() => setOpen(avatar.id)} />`)}</ul>`}
    ${jobs.map((job) => html`<${JobCard} key=${job.id} job=${job} onOpen=${() => setOpen(job.avatarId)} />`)}
    ${open && html`<${Record} id=${open} onClose=${() => setOpen(null)} />`}
  </section>`;
}

function JobCard({ job, onOpen }) {
  const [trouble, setTrouble] = useState(null);
  const stop = () => cancel(job.id).catch((error) => setTrouble(inWords(error)));
  return html`<article class=${`card job ${job.status}`} aria-label=${job.prompt}>
    ${job.status === "completed" ? html`<${Picture} job=${job} onOpen=${onOpen} />` : html`<${Unfinished} job=${job} />`}
    <div class="job-words">
      <p class="job-prompt">${job.prompt}</p>
      <${Progress} job=${job} />
      <${Trouble} text=${trouble} />
      <div class="actions">
        ${job.status === "completed" && html`<button type="button" class="plain" onClick=${onOpen}>Look closer</button>`}
        ${job.status === "completed" && html`<a class="button plain" href=${job.imageUrl} download="avatar.png">Download</a>`}
        ${!hasEnded(job) && html`<button type="button" class="plain" disabled=${job.cancelling} onClick=${stop}>${job.cancelling ? "Cancelling …" : "Cancel"}</button>`}
        ${hasEnded(job) && html`<button type="button" class="quiet" onClick=${() => dismiss(job.id)}>Dismiss</button>`}
      </div>
    </div>
  </article>`;
}

function Picture({ job, onOpen }) {
  return html`<button type="button" class="canvas" onClick=${onOpen} aria-label="Look closer at the avatar">
    <img src=${job.imageUrl} alt=${`Avatar: ${job.prompt}`} />
  </button>`;
}

/** What is drawn so far, as soon as there is something to see. Asking for it has it made. */
function Unfinished({ job }) {
  const [url, setUrl] = useState(null);
  const [looks, setLooks] = useState(0);
  const latest = useRef(0);
  useEffect(() => {
    const timer = setInterval(() => setLooks((count) => count + 1), STILL_LOOKING_MS);
    return () => clearInterval(timer);
  }, []);
  useEffect(() => {
    if (hasEnded(job) || document.hidden) return;
    const turn = (latest.current += 1);
    ask("GET", `/generations/${job.id}/preview`, { raw: true })
      .then((blob) => blob && turn === latest.current && setUrl(URL.createObjectURL(blob)))
      .catch(() => {}); // it has ended meanwhile, or the next one comes
  }, [job.status, job.phase, job.step, looks]);
  useEffect(() => () => {
    latest.current += 1; // what is on its way comes too late
  }, []);
  useEffect(() => () => url && URL.revokeObjectURL(url), [url]);
  return html`<div class="canvas" aria-hidden="true">${url ? html`<img class="preview" src=${url} alt="" />` : html`<span></span>`}</div>`;
}

/** The words are read out when they change; the steps are only in the bar, or they would never stop. */
function Progress({ job }) {
  const left = useSecondsLeft(job);
  if (job.status === "completed")
    return html`<p class="state done" role="status">Drawn${job.credits !== undefined ? ` for ${plural(job.credits, "credit")}` : ""}</p>`;
  if (job.status === "failed") return html`<p class="state" role="alert">${failure(job)}</p>`;
  const steps = job.phase === "step" && job.steps ? `step ${job.step} of ${job.steps}` : null;
  const place = job.position ? (job.position === 1 ? "next in line" : `${job.position - 1} before it`) : null;
  return html`<div class="state">
    <p role="status">${job.again ? "The worker was lost; it waits for another. " : ""}${phaseInWords(job.phase)}${place ? `, ${place}` : ""}</p>
    <progress max=${job.steps || 1} value=${job.phase === "decode" ? job.steps : job.step} aria-label="Progress of the drawing"></progress>
    <p class="hint">${[steps, left !== null && `about ${duration(left)} left`].filter(Boolean).join(" · ") || " "}</p>
  </div>`;
}

function failure(job) {
  const back = job.givenBack === undefined ? "Its credits were given back." : job.givenBack ? `${plural(job.givenBack, "credit")} given back.` : "It had cost nothing.";
  if (job.code === "CANCELLED" || /^CANCELLED/.test(job.reason ?? "")) return `Cancelled. ${back}`;
  const cause = (job.reason ?? "").replace(/^[A-Z_]+:?\s*/, "").trim();
  return `It could not be drawn. ${cause ? `${cause}${/[.!?]$/.test(cause) ? "" : "."} ` : ""}${back}`;
}

/** The estimate, counted down between two events; null if there is none. */
function useSecondsLeft(job) {
  const [since, setSince] = useState({ at: Date.now(), left: job.secondsLeft });
  const [, tick] = useState(0);
  useEffect(() => setSince({ at: Date.now(), left: job.secondsLeft }), [job.secondsLeft]);
  useEffect(() => {
    const timer = setInterval(() => tick((count) => count + 1), 1000);
    return () => clearInterval(timer);
  }, []);
  return since.left === null || since.left === undefined ? null : Math.max(since.left - (Date.now() - since.at) / 1000, 1);
}
