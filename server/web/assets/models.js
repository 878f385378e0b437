// The cards of the catalogue: what each model costs the user, how long it takes, and why it cannot be had.

import { html, useEffect, useState } from "./vendor/preact-htm.js";
import { ask, call } from "./api.js";
import { Loading, Trouble } from "./parts.js";
import { duration, inWords, plural, QUALITIES } from "./words.js";

/** What is on offer, with the steps and adapters of all entries; null until it was read. */
export function useOffers() {
  const [offers, setOffers] = useState(null);
  const [trouble, setTrouble] = useState(null);
  const read = async () => {
    setTrouble(null);
    try {
      const [{ catalogue }, popular] = await Promise.all([ask("GET", "/catalogue"), call("GET", "/api/models/popular")]);
      const byKey = new Map(popular.data.models.map((model) => [model.modelKey, model.capabilities]));
      const found = catalogue.map((offer) => ({ ...offer, ...ordered(byKey.get(offer.modelKey)) }));
      setOffers(found.sort((a, b) => rank(a) - rank(b)));
    } catch (error) {
      setTrouble(inWords(error));
    }
  };
  useEffect(() => void read(), []);
  return { offers, trouble, read };
}

const rank = ({ quality }) => Object.keys(QUALITIES).indexOf(quality);

const ordered = (capabilities) => ({
  steps: capabilities?.numInferenceSteps ?? null,
  lora: capabilities?.loraModel ? `${capabilities.loraModel.split("/").pop()} at\u00a0${capabilities.loraScale}` : null,
});

const AUTOMATIC = "";

/** One choice among all models, and one that leaves it to the server. */
export function Models({ offers, trouble, onAgain, chosen, onChoose }) {
  if (trouble)
    return html`<${Trouble} text=${trouble}><button type="button" class="plain" onClick=${onAgain}>Try again</button><//>`;
  if (!offers) return html`<${Loading} what="the models" shapes=${4} />`;
  return html`<fieldset class="models">
    <legend>Model</legend>
    <div class="cards">
      <${Card} value=${AUTOMATIC} chosen=${chosen} onChoose=${onChoose} title="Automatic" name="Whatever suits the size best">
        <p class="facts">The best that your tier reaches.</p>
      <//>
      ${offers.map((offer) => html`<${OfferCard} key=${offer.modelKey} offer=${offer} chosen=${chosen} onChoose=${onChoose} />`)}
    </div>
  </fieldset>`;
}

function OfferCard({ offer, chosen, onChoose }) {
  const { size, licence, estimatedSeconds: time } = offer;
  const facts = [`${size.width} × ${size.height}`, offer.steps && plural(offer.steps, "step"), offer.lora && `LoRA ${offer.lora}`];
  return html`<${Card} value=${offer.modelKey} chosen=${chosen} onChoose=${onChoose} disabled=${!offer.usable}
      title=${QUALITIES[offer.quality] ?? offer.quality} name=${offer.name} price=${offer.usable ? plural(offer.creditCost, "credit") : offer.tier}>
    <p class="facts">${facts.filter(Boolean).join(" · ")}</p>
    ${time && html`<p class="facts">${time.measured ? `Half take ${duration(time.p50)}, nine of ten ${duration(time.p90)}` : `About ${duration(time.p50)} to ${duration(time.p90)}, not measured here yet`}</p>`}
    <p class="facts" title=${licence.note}>${licence.name}${licence.commercial ? "" : ", not for commercial use"}</p>
    ${offer.reason && html`<p class="reason">${offer.reason}</p>`}
  <//>`;
}

function Card({ value, chosen, onChoose, title, name, price, disabled = false, children }) {
  return html`<label class=${`card choice${disabled ? " disabled" : ""}`}>
    <input type="radio" name="model" value=${value} checked=${chosen === value} disabled=${disabled} onChange=${() => onChoose(value)} />
    <span class="choice-head"><strong>${title}</strong>${price && html`<span class="price">${price}</span>`}</span>
    <span class="choice-name">${name}</span>
    ${children}
  </label>`;
}
