// What a visitor without a key sees.

import { html, useState } from "./vendor/preact-htm.js";
import { Field, Trouble } from "./parts.js";
import { signInByKey } from "./session.js";
import { useApp } from "./store.js";
import { inWords } from "./words.js";

/** How to get in: by a link that the command line prints, or with an API key. */
export function SignIn({ busy }) {
  const { notice } = useApp();
  const [key, setKey] = useState("");
  const [asking, setAsking] = useState(false);
  const [wrong, setWrong] = useState(null);

  const submit = async (event) => {
    event.preventDefault();
    if (!key.trim()) return setWrong("Paste an API key. It begins with ac_.");
    setAsking(true);
    setWrong(null);
    try {
      await signInByKey(key.trim());
    } catch (error) {
      setWrong(inWords(error));
    } finally {
      setAsking(false);
    }
  };

  return html`<main class="sign-in" aria-busy=${busy}>
    <div class="card">
      <p class="brand"><span class="mark" aria-hidden="true"></span>Avatar Creator</p>
      <h1>${busy ? "Signing you in …" : "Turn a sentence into an avatar"}</h1>
      <${Trouble} text=${notice} />
      ${!busy &&
      html`<form onSubmit=${submit}>
          <${Field} id="key" label="API key" wrong=${wrong} control=${(attributes) =>
            html`<input ...${attributes} type="password" autocomplete="off" spellcheck="false" placeholder="ac_…" value=${key}
              onInput=${(event) => setKey(event.target.value)} />`} />
          <button type="submit" class="primary" disabled=${asking}>${asking ? "Asking the server …" : "Sign in"}</button>
        </form>
        <div class="or">
          <h2>Or by a link</h2>
          <p>On the machine that runs the server, this prints a link that signs you in once:</p>
          <pre tabindex="0"><code>avatar-creator link YOUR-ID-OR-EMAIL</code></pre>
          <p class="hint">After <code>make up</code> the user is <code>demo</code>.</p>
        </div>`}
    </div>
  </main>`;
}
