// The looks and the persona of whom an avatar shows, and the drawer in which they are chosen.

import { html } from "./vendor/preact-htm.js";

/** The looks and the persona, as they are asked for. Source: docs/openapi.json, GenerateBody. */
export const LOOKS = [
  ["gender", "Gender", { choices: ["female", "male", "unisex"] }],
  ["ageRange", "Age", { choices: ["young", "adult", "mature"] }],
  ["ethnicity", "Ethnicity", { examples: ["African", "East Asian", "European", "Latin American", "South Asian"] }],
  ["skinTone", "Skin tone", { examples: ["light", "olive", "brown", "dark"] }],
  ["bodyType", "Build", { examples: ["slim", "athletic", "average", "heavy"] }],
  ["hairStyle", "Hair style", { examples: ["long", "short", "curly", "bald", "ponytail"] }],
  ["hairColor", "Hair colour", { examples: ["black", "brown", "blond", "red", "grey"] }],
  ["eyeColor", "Eyes", { examples: ["brown", "blue", "green", "grey"] }],
  ["style", "Clothes", { examples: ["business suit", "hoodie", "dress", "sportswear"] }],
];
export const PERSONA = [
  ["personaName", "Called", { most: 100 }],
  ["personaAge", "Years old", { number: true }],
  ["personaPersonality", "Character", { hint: "Words separated by commas", most: 500 }],
  ["personaBackground", "Story", { most: 500 }],
];
export const TRAITS = [...LOOKS, ...PERSONA].map(([name]) => name);

/** The drawer of looks and persona. */
export function Traits({ traits, onChange }) {
  const set = (name) => (event) => onChange({ ...traits, [name]: event.target.value });
  const filled = TRAITS.filter((name) => traits[name]?.trim()).length;
  return html`<details class="drawer">
    <summary>Looks and persona ${filled > 0 && html`<span class="count">${filled} set</span>`}</summary>
    <div class="fields">
      ${[...LOOKS, ...PERSONA].map(([name, label, kind]) => html`<${Trait} key=${name} name=${name} label=${label} kind=${kind} value=${traits[name] ?? ""} onInput=${set(name)} />`)}
    </div>
  </details>`;
}

function Trait({ name, label, kind, value, onInput }) {
  const id = `trait-${name}`;
  const list = kind.examples ? `${id}-examples` : null;
  const control = kind.choices
    ? html`<select id=${id} value=${value} onChange=${onInput}>
        <option value="">Any</option>
        ${kind.choices.map((choice) => html`<option key=${choice} value=${choice}>${choice}</option>`)}
      </select>`
    : html`<input id=${id} value=${value} list=${list} maxlength=${kind.most ?? 50} autocomplete="off"
        type=${kind.number ? "number" : "text"} min=${kind.number ? 1 : null} max=${kind.number ? 120 : null} onInput=${onInput} />`;
  return html`<div class="field">
    <label for=${id}>${label}</label>
    ${control}
    ${list && html`<datalist id=${list}>${kind.examples.map((example) => html`<option key=${example} value=${example} />`)}</datalist>`}
    ${kind.hint && html`<p class="hint">${kind.hint}</p>`}
  </div>`;
}
