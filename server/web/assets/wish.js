// What the user wishes for: kept in this browser as it is typed, and turned into the body of a request.

import { useState } from "./vendor/preact-htm.js";
import { keep, kept } from "./store.js";
import { TRAITS } from "./traits.js";

const NOTHING = { prompt: "", name: "", modelKey: "", width: "", height: "", seed: "", projectId: "", traits: {} };
const MAX_NAME_CHARS = 40;

let current = { ...NOTHING, ...kept("draft") };

/** The draft, and a function that changes parts of it. It is kept at once: a reload loses no letter. */
export function useDraft() {
  const [draft, setDraft] = useState(current);
  const change = (parts) => {
    current = { ...current, ...parts };
    keep("draft", current);
    setDraft(current);
  };
  return [draft, change];
}

/** Replace the draft from outside of its form, which shows the new one when it is opened. */
export function redraft(parts) {
  current = { ...NOTHING, ...parts };
  keep("draft", current);
}

/** The draft that draws an avatar again: its prompt, looks and persona, and how its generation was ordered. */
export function draftOf(avatar, generation) {
  const options = generation ? JSON.parse(generation.options) : {};
  const traits = {};
  for (const name of TRAITS) if (avatar[name] !== null && avatar[name] !== undefined) traits[name] = String(avatar[name]);
  if (traits.personaPersonality) traits.personaPersonality = words(JSON.parse(traits.personaPersonality));
  return {
    prompt: avatar.generationPrompt ?? "",
    name: avatar.name,
    modelKey: options.modelKey ?? "",
    width: options.width ? String(options.width) : "",
    height: options.height ? String(options.height) : "",
    seed: avatar.seedUsed === null ? "" : String(avatar.seedUsed),
    projectId: avatar.projectId,
    traits,
  };
}

const words = (list) => (Array.isArray(list) ? list.join(", ") : "");
const whole = (text) => (String(text).trim() === "" ? undefined : Number(text));

/** What of a draft decides the price: the model and the size. */
export const choiceOf = (draft) => ({
  modelKey: draft.modelKey || undefined,
  width: whole(draft.width),
  height: whole(draft.height),
});

/** The body of the request that a draft stands for. What is empty is left out. */
export function bodyOf(draft) {
  const traits = {};
  for (const name of TRAITS) {
    const text = (draft.traits[name] ?? "").trim();
    if (text) traits[name] = text;
  }
  if (traits.personaAge) traits.personaAge = Number(traits.personaAge);
  if (traits.personaPersonality)
    traits.personaPersonality = traits.personaPersonality.split(",").map((word) => word.trim()).filter(Boolean);
  return { ...choiceOf(draft), ...traits, prompt: draft.prompt, name: draft.name.trim() || nameOf(draft.prompt), seed: whole(draft.seed) };
}

/** A name for an avatar that was given none: the beginning of its prompt, cut between words. */
export function nameOf(prompt) {
  const text = prompt.trim().replace(/\s+/g, " ");
  if (text.length <= MAX_NAME_CHARS) return text || "Avatar";
  const cut = text.slice(0, MAX_NAME_CHARS + 1);
  return cut.slice(0, Math.max(cut.lastIndexOf(" "), 0)) || text.slice(0, MAX_NAME_CHARS);
}
