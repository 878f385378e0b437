// Small parts that several views share.

import { html, useEffect, useLayoutEffect, useRef, useState } from "./vendor/preact-htm.js";
import { useApp } from "./store.js";

const PATIENCE_MS = 1200; // a connection that comes back within it is not worth a word

/** Says when the server does not answer, and when this device is offline. */
export function Banner() {
  const { connected } = useApp();
  const [online, setOnline] = useState(navigator.onLine);
  const [shown, setShown] = useState(false);
  useEffect(() => {
    const look = () => setOnline(navigator.onLine);
    window.addEventListener("online", look);
    window.addEventListener("offline", look);
    return () => {
      window.removeEventListener("online", look);
      window.removeEventListener("offline", look);
    };
  }, []);
  const away = !connected || !online;
  useEffect(() => {
    const timer = setTimeout(() => setShown(away), away ? PATIENCE_MS : 0);
    return () => clearTimeout(timer);
  }, [away]);
  const text = online
    ? "The server does not answer. The page connects again by itself; what you typed is kept."
    : "You are offline. The page connects again by itself; what you typed is kept.";
  return html`<div class="banner-place" role="status">${shown && html`<p class="banner"><span class="pulse" aria-hidden="true"></span>${text}</p>`}</div>`;
}

/** Sentences that go by themselves. */
export function Toasts() {
  const { toasts } = useApp();
  return html`<div class="toasts" role="status">${toasts.map(({ id, text }) => html`<p key=${id} class="toast">${text}</p>`)}</div>`;
}

/** A sentence about what went wrong, which is read out at once. */
export function Trouble({ text, children }) {
  return html`<div role="alert" class="trouble-place">${text && html`<div class="trouble"><p>${text}</p>${children}</div>`}</div>`;
}

/** The heading of a view. It takes the focus when the view is opened. */
export function Heading({ children, aside }) {
  return html`<div class="heading"><h1 tabindex="-1">${children}</h1>${aside}</div>`;
}

/** What a place says while there is nothing in it. */
export function Empty({ title, children }) {
  return html`<div class="empty"><div class="empty-picture" aria-hidden="true"></div><h2>${title}</h2>${children}</div>`;
}

/** Grey shapes where things will be, for as long as they are read. */
export function Loading({ what, shapes = 6 }) {
  return html`<div class="loading" role="status">
    <span class="hidden">Reading ${what} …</span>
    ${Array.from({ length: shapes }, (_, index) => html`<span key=${index} class="shape" aria-hidden="true"></span>`)}
  </div>`;
}

/** A label, its control, a hint, and what is wrong with its content. `control` gets the attributes to take over. */
export function Field({ id, label, hint, wrong, control }) {
  const described = [hint && `${id}-hint`, wrong && `${id}-wrong`].filter(Boolean).join(" ") || null;
  return html`<div class="field">
    <label for=${id}>${label}</label>
    ${control({ id, "aria-describedby": described, "aria-invalid": wrong ? "true" : null })}
    ${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
    ${wrong && html`<p class="wrong" id=${`${id}-wrong`}>${wrong}</p>`}
  </div>`;
}

/** A titled table, what stands above it, and what it says while it has no rows. Narrow screens scroll it. */
export function Table({ title, columns, rows, empty, level = 2, children }) {
  const id = `table-${title.replace(/\W+/g, "-").toLowerCase()}`;
  return html`<div class="part">
    <${`h${level}`} id=${id}>${title}<//>
    ${children}
    ${rows.length === 0 && html`<p class="hint">${empty}</p>`}
    ${rows.length > 0 &&
    html`<div class="table-place" role="region" aria-labelledby=${id} tabindex="0">
      <table>
        <thead><tr>${columns.map((name) => html`<th key=${name} scope="col">${name || html`<span class="hidden">Actions</span>`}</th>`)}</tr></thead>
        <tbody>${rows.map((cells, row) => html`<tr key=${row}>${cells.map((cell, column) => html`<td key=${column}>${cell}</td>`)}</tr>`)}</tbody>
      </table>
    </div>`}
  </div>`;
}

/** A dialog of the browser's own: it keeps the focus inside, gives it back, and closes with Escape. */
export function Dialog({ title, onClose, children, wide = false }) {
  const dialog = useRef(null);
  useLayoutEffect(() => {
    const own = dialog.current;
    own.showModal();
    return () => own.close(); // gives the focus back to what had it
  }, []);
  const outside = (event) => event.target === dialog.current && onClose();
  return html`<dialog ref=${dialog} class=${wide ? "wide" : null} aria-labelledby="dialog-title" onCancel=${(event) => {
    event.preventDefault();
    onClose();
  }} onMouseDown=${outside}>
    <div class="dialog">
      <div class="dialog-head">
        <h2 id="dialog-title" tabindex="-1">${title}</h2>
        <button type="button" class="quiet icon" aria-label="Close" onClick=${onClose}>✕</button>
      </div>
      ${children}
    </div>
  </dialog>`;
}

/** Asks before something that cannot be undone. */
export function Confirm({ title, text, action, onConfirm, onClose }) {
  const [state, setState] = useState({ busy: false, trouble: null });
  const confirm = async () => {
    setState({ busy: true, trouble: null });
    const trouble = await onConfirm();
    if (trouble) setState({ busy: false, trouble });
  };
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <p>${text}</p>
    <${Trouble} text=${state.trouble} />
    <div class="actions">
      <button type="button" class="danger" disabled=${state.busy} onClick=${confirm}>${action}</button>
      <button type="button" class="plain" onClick=${onClose}>Keep it</button>
    </div>
  <//>`;
}

/** A text that becomes a form for its new value. `onSave` returns what went wrong, or null. */
export function Rename({ label, value, onSave, onClose }) {
  const [name, setName] = useState(value);
  const [wrong, setWrong] = useState(null);
  const save = async (event) => {
    event.preventDefault();
    const trouble = name.trim() ? await onSave(name) : "A name has 1 to 100 characters.";
    setWrong(trouble);
  };
  return html`<form class="rename" onSubmit=${save}>
    <${Field} id="new-name" label=${label} wrong=${wrong} control=${(attributes) =>
      html`<input ...${attributes} value=${name} maxlength="100" autofocus onInput=${(event) => setName(event.target.value)} />`} />
    <div class="actions">
      <button type="submit" class="primary">Save</button>
      <button type="button" class="plain" onClick=${onClose}>Cancel</button>
    </div>
  </form>`;
}
