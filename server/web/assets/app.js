// The page: who is signed in, which view is shown, and whether the server answers.

import { html, render, useEffect, useRef } from "./vendor/preact-htm.js";
import { Banner, Toasts } from "./parts.js";
import { CreateView } from "./create.js";
import { CreditsView } from "./credits.js";
import { GalleryView } from "./gallery.js";
import { OperateView } from "./operate.js";
import { SignIn } from "./sign_in.js";
import { plural } from "./words.js";
import { readBalance, readMe } from "./api.js";
import { followJobs } from "./jobs.js";
import { signInByLink, signOut } from "./session.js";
import { setState, useApp } from "./store.js";

const VIEWS = {
  create: { title: "Create", view: CreateView },
  gallery: { title: "Gallery", view: GalleryView },
  credits: { title: "Credits", view: CreditsView },
  operate: { title: "Operate", view: OperateView, forOperators: true },
};

const viewNamed = (hash) => (hash.slice(2) in VIEWS ? hash.slice(2) : "create");

/** The navigation. The current view is marked for screen readers too. */
function Navigation({ current }) {
  const { isOperator } = useApp();
  return html`<nav aria-label="Main" class="nav">
    ${Object.entries(VIEWS).filter(([, { forOperators }]) => isOperator || !forOperators).map(
      ([name, { title }]) =>
        html`<a key=${name} href=${`#/${name}`} class=${`nav-${name}`} aria-current=${name === current ? "page" : null}>${title}</a>`,
    )}
  </nav>`;
}

function Header({ current }) {
  const { balance } = useApp();
  return html`<header class="header">
    <a class="brand" href="#/create"><span class="mark" aria-hidden="true"></span><span class="brand-name">Avatar Creator</span></a>
    <${Navigation} current=${current} />
    <div class="account">
      ${balance !== null && html`<a class="balance" href="#/credits">${plural(balance, "credit")}</a>`}
      <button type="button" class="quiet" onClick=${signOut}>Sign out</button>
    </div>
  </header>`;
}

/** The page of somebody who is signed in. */
function Shell() {
  const { view, forms } = useApp();
  const main = useRef(null);
  const shown = useRef(view);
  useEffect(() => {
    document.title = `${VIEWS[view].title} · Avatar Creator`;
    if (shown.current !== view) main.current?.querySelector("h1")?.focus();
    shown.current = view;
  }, [view]);
  useEffect(() => {
    readBalance().catch(() => {}); // a header without a balance is complete
    readMe().catch(() => {}); // so is a navigation without the operators' view
    return followJobs();
  }, []);
  return html`<a class="skip" href="#main" onClick=${(event) => skipTo(event, main.current)}>Skip to the content</a>
    <${Header} current=${view} />
    <main id="main" ref=${main} tabindex="-1" key=${`${view} ${forms}`}><${VIEWS[view].view} /></main>`;
}

/** Move the focus without touching the address, whose fragment names the view. */
function skipTo(event, target) {
  event.preventDefault();
  target?.focus();
}

function App() {
  const { session, signingIn } = useApp();
  return html`<${Banner} />${session ? html`<${Shell} key=${session.token} />` : html`<${SignIn} busy=${signingIn} />`}<${Toasts} />`;
}

window.addEventListener("hashchange", () => {
  // A link that is opened in a tab which shows the page already loads nothing anew.
  if (!signInByLink()) setState({ view: viewNamed(location.hash) });
});
setState({ view: viewNamed(location.hash) });
signInByLink();
render(html`<${App} />`, document.getElementById("app"));
