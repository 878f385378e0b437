// One avatar: its image, all that is recorded of it, and what can be done with it.

import { html, useEffect, useState } from "./vendor/preact-htm.js";
import { ask } from "./api.js";
import { generationOf, pastOf } from "./history.js";
import { Confirm, Dialog, Loading, Rename, Trouble } from "./parts.js";
import { setState, toast } from "./store.js";
import { draftOf, redraft } from "./wish.js";
import { inWords, moment, plural } from "./words.js";

/** Read everything about an avatar. What belongs to its making may be missing; the avatar may not. */
async function readRecord(id) {
  const [{ avatar }, used] = await Promise.all([ask("GET", `/avatars/${id}`), ask("GET", `/avatars/${id}/usage-history`)]);
  const generation = await generationOf(avatar).catch(() => null);
  const past = generation ? await pastOf(generation.id).catch(() => null) : null;
  return { avatar, used, generation, past };
}

export function Record({ id, onClose, onChanged = () => {} }) {
  const [record, setRecord] = useState(null);
  const [trouble, setTrouble] = useState(null);
  const [doing, setDoing] = useState(null); // rename or delete

  useEffect(() => void readRecord(id).then(setRecord, (error) => setTrouble(inWords(error))), [id]);

  const rename = async (name) => {
    try {
      const { avatar } = await ask("PUT", `/avatars/${id}`, { body: { name } });
      setRecord({ ...record, avatar });
      setDoing(null);
      onChanged();
      return null;
    } catch (error) {
      return inWords(error);
    }
  };
  const remove = async () => {
    try {
      await ask("DELETE", `/avatars/${id}`);
    } catch (error) {
      return inWords(error);
    }
    toast(`${record.avatar.name} is deleted.`);
    setState(({ jobs }) => ({ jobs: jobs.filter(({ avatarId }) => avatarId !== id) }));
    onClose();
    onChanged();
    setTimeout(() => document.querySelector("h1")?.focus()); // what had the focus before is deleted
    return null;
  };
  const again = () => {
    redraft(draftOf(record.avatar, record.generation));
    onClose();
    location.hash = "#/create";
    setState(({ forms }) => ({ view: "create", forms: forms + 1 })); // the form is made anew if it lies below
  };

  if (doing === "delete")
    return html`<${Confirm} title=${`Delete ${record.avatar.name}?`} action="Delete avatar" onConfirm=${remove} onClose=${() => setDoing(null)}
      text="Its image is deleted for good. The credits that it cost are not given back." />`;
  return html`<${Dialog} wide title=${record?.avatar.name ?? "Avatar"} onClose=${onClose}>
    <${Trouble} text=${trouble} />
    ${!record && !trouble && html`<${Loading} what="the record" shapes=${1} />`}
    ${record &&
    html`<div class="record">
      <img class="portrait" src=${record.avatar.baseImageUrl} alt=${`Avatar ${record.avatar.name}`} />
      <div>
        ${doing === "rename"
          ? html`<${Rename} label="Name of the avatar" value=${record.avatar.name} onSave=${rename} onClose=${() => setDoing(null)} />`
          : html`<${Actions} record=${record} onAgain=${again} onRename=${() => setDoing("rename")} onDelete=${() => setDoing("delete")} />`}
        <${Facts} facts=${factsOf(record)} />
      </div>
    </div>`}
  <//>`;
}

function Actions({ record, onAgain, onRename, onDelete }) {
  const { avatar } = record;
  return html`<div class="actions">
    <a class="button primary" href=${avatar.baseImageUrl} download=${`${fileName(avatar.name)}.png`}>Download</a>
    ${avatar.generationPrompt && html`<button type="button" class="plain" onClick=${onAgain}>Again with this seed</button>`}
    <button type="button" class="plain" onClick=${onRename}>Rename</button>
    <button type="button" class="plain" onClick=${onDelete}>Delete</button>
  </div>`;
}

const fileName = (name) => name.replace(/[^\p{L}\p{N} ._-]+/gu, "").trim().slice(0, 60) || "avatar";

function Facts({ facts }) {
  return html`<dl class="facts-list">
    ${facts.filter(([, value]) => value !== null && value !== undefined && value !== "").map(([term, value]) => html`<div key=${term}><dt>${term}</dt><dd>${value}</dd></div>`)}
  </dl>`;
}

const SOURCES = { uploaded: "Uploaded", text_to_image: "Drawn by a prompt", from_preset: "Drawn from a preset", from_reference: "Drawn from a picture" };
const rounded = (seconds) => `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;

/** The record as pairs of a term and a value, in the order of interest. */
function factsOf({ avatar, generation, past, used }) {
  const order = generation ? JSON.parse(generation.options) : null;
  const made = generation?.madeWith;
  return [
    ["Prompt", avatar.generationPrompt],
    ["Made", `${SOURCES[avatar.sourceType] ?? avatar.sourceType}, ${moment(avatar.createdAt)}`],
    ["Project", avatar.project?.name],
    ["Model", order?.modelName],
    ["Weights", made && [made.modelId, made.modelRevision && `at ${made.modelRevision.slice(0, 12)}`].filter(Boolean).join(" ")],
    ["LoRA", made && (made.loraModel ? `${made.loraModel} at ${made.loraScale}` : "none")],
    ["Size", order && `${order.width} × ${order.height}`],
    ["Steps", order?.numInferenceSteps],
    ["Guidance", order?.guidanceScale],
    ["Seed", avatar.seedUsed],
    ["Drawn by", made && [made.provider ?? made.backend, made.profile && `profile ${made.profile}`].filter(Boolean).join(", ")],
    ["Took", past?.drawnS && `${rounded(past.drawnS)}${past.waitedS >= 1 ? `, after ${rounded(past.waitedS)} in the queue` : ""}`],
    ["Cost", past && past.credits !== null ? plural(past.credits, "credit") : null],
    ...traitsOf(avatar),
    ["Used", usedInWords(avatar, used)],
  ];
}

function traitsOf(avatar) {
  const persona = [avatar.personaName, avatar.personaAge && `${avatar.personaAge} years`, listed(avatar.personaPersonality), avatar.personaBackground];
  const looks = ["gender", "ageRange", "ethnicity", "skinTone", "bodyType", "hairStyle", "hairColor", "eyeColor", "style"].map((name) => avatar[name]);
  return [
    ["Looks", looks.filter(Boolean).join(", ")],
    ["Persona", persona.filter(Boolean).join(", ")],
  ];
}

function listed(text) {
  const list = text ? JSON.parse(text) : [];
  return Array.isArray(list) ? list.join(", ") : null;
}

function usedInWords(avatar, { summary }) {
  if (!avatar.usageCount) return "Not yet by any application";
  const apps = summary.map(({ appName, count }) => `${appName} ${count}`).join(", ");
  return `${plural(avatar.usageCount, "time")}${apps ? `: ${apps}` : ""}`;
}
