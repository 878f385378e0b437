// The view that draws: the wish on one side, what becomes of it on the other.

import { html, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { ask, readProjects, uniqueKey } from "./api.js";
import { Unreachable } from "./errors.js";
import { addJob, refresh } from "./jobs.js";
import { Stage } from "./job_card.js";
import { Models, useOffers } from "./models.js";
import { Field, Heading, Trouble } from "./parts.js";
import { useQuote } from "./quote.js";
import { Sizes } from "./sizes.js";
import { setState, useApp } from "./store.js";
import { Traits } from "./traits.js";
import { bodyOf, choiceOf, nameOf, useDraft } from "./wish.js";
import { duration, inWords, plural } from "./words.js";

const MIN_PROMPT_CHARS = 10;
const MAX_PROMPT_CHARS = 2000;
const TRIES = 15;
const AGAIN_MS = 2000;
const EXAMPLES = [
  "Portrait of a woman with long red hair and glasses, blue background",
  "A friendly old man with a white beard and a green hat",
  "Young man with short black hair, brown eyes, orange background",
  "A smiling woman with curly brown hair in a business suit",
];

export function CreateView() {
  const { balance, projects } = useApp();
  const [draft, change] = useDraft();
  const { offers, trouble: offersTrouble, read } = useOffers();
  const [problem, setProblem] = useState({ text: null, field: null });
  const [sending, setSending] = useState(null); // what is being done, in words
  const prompt = useRef(null);
  const project = projects?.find(({ id }) => id === draft.projectId) ?? projects?.at(-1);
  const { quote, trouble: quoteTrouble, field: quoteField, again } = useQuote(project?.id, choiceOf(draft));

  useEffect(() => void readProjects().catch((error) => setProblem({ text: inWords(error), field: null })), []);

  const send = async (event) => {
    event.preventDefault();
    if (sending) return;
    if (draft.prompt.trim().length < MIN_PROMPT_CHARS) {
      setProblem({ text: `Describe whom to draw in at least ${MIN_PROMPT_CHARS} characters.`, field: "prompt" });
      prompt.current.focus();
      return;
    }
    setProblem({ text: null, field: null });
    setSending("Sending …");
    try {
      await submit(project.id, { ...bodyOf(draft), quoteId: quote?.quoteId }, () =>
        setSending("The server does not answer. Sending again …"),
      );
    } catch (error) {
      if (error.field === "quoteId") {
        again();
        setProblem({ text: "The price was no longer binding. A new one is being asked for: look at it, then draw.", field: null });
      } else setProblem({ text: inWords(error), field: error.field ?? null });
    } finally {
      setSending(null);
    }
  };

  const wrong = (name) => (problem.field === name ? problem.text : null);
  const sizeWrong = ["width", "height"].includes(quoteField) ? quoteTrouble : wrong("width") ?? wrong("height");
  return html`<div class="create">
    <form class="wish" onSubmit=${send} novalidate>
      <${Heading}>Create<//>
      <${Field} id="prompt" label="Whom shall it show?" wrong=${wrong("prompt")}
        hint=${`${draft.prompt.length} of ${MAX_PROMPT_CHARS} characters`}
        control=${(attributes) => html`<textarea ...${attributes} ref=${prompt} rows="4" maxlength=${MAX_PROMPT_CHARS} value=${draft.prompt}
          placeholder=${EXAMPLES[0]} onInput=${(event) => change({ prompt: event.target.value })}
          onKeyDown=${(event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && send(event)} />`} />
      <div class="chips" role="group" aria-label="Examples">
        ${EXAMPLES.map((example) => html`<button key=${example} type="button" class="chip" onClick=${() => change({ prompt: example })}>${example}</button>`)}
      </div>
      <${Models} offers=${offers} trouble=${offersTrouble} onAgain=${read} chosen=${draft.modelKey} onChoose=${(modelKey) => change({ modelKey })} />
      <${Sizes} width=${draft.width} height=${draft.height} limits=${offers?.find(({ modelKey }) => modelKey === draft.modelKey)?.size} wrong=${sizeWrong} onChange=${change} />
      <${Traits} traits=${draft.traits} onChange=${(traits) => change({ traits })} />
      <${Details} draft=${draft} projects=${projects} project=${project} wrong=${wrong} onChange=${change} />
      <${Trouble} text=${["prompt", "width", "height", "seed", "name"].includes(problem.field) ? null : problem.text} />
      <div class="order">
        <${Price} quote=${quote} trouble=${sizeWrong ? "No price for a size that cannot be drawn" : quoteTrouble} balance=${balance} />
        <button type="submit" class="primary big" disabled=${Boolean(sending) || !project}>${sending ?? "Draw"}</button>
      </div>
    </form>
    <${Stage} />
  </div>`;
}

/** What it will cost, binding for a minute, and how long it will take. */
function Price({ quote, trouble, balance }) {
  let text;
  if (trouble) text = trouble;
  else if (!quote) text = "Asking for the price …";
  else if (quote.sufficientCredits) text = `Binding price: ${quote.creditCost} of your ${plural(balance ?? quote.creditBalance, "credit")}, given back if nothing is drawn`;
  else text = `This costs ${plural(quote.creditCost, "credit")} and you have ${quote.creditBalance}`;
  const time = quote?.estimatedSeconds;
  const waits = quote?.estimatedWaitSeconds;
  return html`<div class="quote" aria-live="polite">
    <p class=${quote && !quote.sufficientCredits ? "price short" : "price"}>${text}</p>
    ${quote && html`<p class="hint">${quote.modelName}, ${quote.width} × ${quote.height}${
      waits === null ? " · no worker is ready, so it waits" : time ? ` · about ${duration(Math.max(waits, time.p50))}` : ""
    }</p>`}
  </div>`;
}

/** What rarely matters: the name, the project and the seed. */
function Details({ draft, projects, project, wrong, onChange }) {
  const set = (name) => (event) => onChange({ [name]: event.target.value });
  return html`<details class="drawer">
    <summary>Name, project and seed ${draft.seed !== "" && html`<span class="count">seed ${draft.seed}</span>`}</summary>
    <div class="fields">
      <${Field} id="name" label="Name" wrong=${wrong("name")} control=${(attributes) =>
        html`<input ...${attributes} maxlength="100" value=${draft.name} placeholder=${nameOf(draft.prompt)} onInput=${set("name")} />`} />
      <${Field} id="project" label="Project" control=${(attributes) =>
        html`<select ...${attributes} value=${project?.id} onChange=${set("projectId")}>
          ${(projects ?? []).map(({ id, name }) => html`<option key=${id} value=${id}>${name}</option>`)}
        </select>`} />
      <${Field} id="seed" label="Seed" hint="The same seed draws the same image again. Empty: by chance." wrong=${wrong("seed")} control=${(attributes) =>
        html`<input ...${attributes} type="number" min="0" max="4294967295" inputmode="numeric" value=${draft.seed} onInput=${set("seed")} />`} />
    </div>
  </details>`;
}

/**
 * Have a body drawn. While the server does not answer it is sent again, with the same key: that spends once.
 *
 * Throws the ApiError with which it is refused, or Unreachable after half a minute.
 */
async function submit(projectId, body, onAgain) {
  const key = uniqueKey();
  for (let tries = 1; ; tries += 1) {
    try {
      const path = `/projects/${projectId}/avatars/generate`;
      const accepted = await ask("POST", path, { body, headers: { "Idempotency-Key": key } });
      setState({ balance: accepted.creditBalance });
      addJob(accepted.generation, accepted.creditUsed);
      refresh(accepted.generation.id).catch(() => {}); // the stream tells the same
      return;
    } catch (error) {
      if (!(error instanceof Unreachable) || tries === TRIES) throw error;
      onAgain();
      await new Promise((done) => setTimeout(done, AGAIN_MS));
    }
  }
}
