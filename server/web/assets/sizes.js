// The size of the image: the model's own, a common square, or any that the model draws.

import { html, useState } from "./vendor/preact-htm.js";

const SQUARES = [512, 768, 1024, 1536];
const ANY = { minSide: 512, maxWidth: 1536, maxHeight: 1536, step: 16 };
const OWN = "own";
const CUSTOM = "custom";

/** limits: of the chosen model; without one, of any. Sizes are texts of pixels, empty for the model's own. */
export function Sizes({ width, height, limits, wrong, onChange }) {
  const { minSide, maxWidth, maxHeight, step } = limits ?? ANY;
  const squares = SQUARES.filter((side) => side <= Math.min(maxWidth, maxHeight));
  const given = width === "" && height === "" ? OWN : width === height && squares.includes(Number(width)) ? width : CUSTOM;
  const [custom, setCustom] = useState(given === CUSTOM);
  const chosen = custom ? CUSTOM : given;
  const choose = (choice) => {
    setCustom(choice === CUSTOM);
    if (choice !== CUSTOM) onChange({ width: choice === OWN ? "" : choice, height: choice === OWN ? "" : choice });
    else if (width === "") onChange({ width: String(minSide), height: String(minSide) });
  };
  const side = (name, value, most) => html`<label>${name}
    <input type="number" min=${minSide} max=${most} step=${step} inputmode="numeric" value=${value} aria-invalid=${wrong ? "true" : null}
      aria-describedby=${wrong ? "size-wrong" : null} onInput=${(event) => onChange({ [name.toLowerCase()]: event.target.value })} />
  </label>`;
  return html`<fieldset class="sizes">
    <legend>Size</legend>
    <div class="segments">
      ${[[OWN, limits ? `${limits.width} × ${limits.height}` : "Its own"], ...squares.map((one) => [String(one), `${one} px`]), [CUSTOM, "Custom"]].map(
        ([value, label]) => html`<label key=${value} class="segment">
          <input type="radio" name="size" value=${value} checked=${chosen === value} onChange=${() => choose(value)} /><span>${label}</span>
        </label>`,
      )}
    </div>
    ${chosen === CUSTOM && html`<div class="sides">${side("Width", width, maxWidth)}${side("Height", height, maxHeight)}<p class="hint">Multiples of ${step} from ${minSide} to ${Math.max(maxWidth, maxHeight)}</p></div>`}
    ${wrong && html`<p class="wrong" id="size-wrong" role="alert">${wrong}</p>`}
  </fieldset>`;
}
