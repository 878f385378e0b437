// The binding price of what is wished for: asked for when the model or the size changes, and before it expires.

import { useEffect, useState } from "./vendor/preact-htm.js";
import { ask } from "./api.js";
import { inWords } from "./words.js";

const TYPING_MS = 350;
const MARGIN_MS = 5000; // a quote is replaced so long before it expires
const ANY_PROMPT = "portrait of a person"; // a price does not depend on the prompt

/** Ask for a quote of a model and a size in a project. */
export const quoteFor = (projectId, choice) =>
  ask("POST", `/projects/${projectId}/avatars/generate?dryRun=true`, {
    body: { ...choice, name: "Quote", prompt: ANY_PROMPT },
  });

/** The quote of a choice, or what is wrong with the choice. Both are null while it is asked for. */
export function useQuote(projectId, choice) {
  const key = JSON.stringify([projectId, choice]);
  const [found, setFound] = useState({ key: null, quote: null, trouble: null, field: null });
  const [round, setRound] = useState(0);

  useEffect(() => {
    if (!projectId) return undefined;
    let stale = false;
    let renewal;
    const renew = () => {
      if (document.hidden) renewal = setTimeout(renew, MARGIN_MS); // nobody looks
      else setRound((count) => count + 1);
    };
    const timer = setTimeout(async () => {
      try {
        const quote = await quoteFor(projectId, choice);
        if (stale) return;
        setFound({ key, quote, trouble: null, field: null });
        renewal = setTimeout(renew, Math.max(new Date(quote.quoteExpiresAt) - Date.now() - MARGIN_MS, MARGIN_MS));
      } catch (error) {
        if (stale) return;
        setFound({ key, quote: null, trouble: inWords(error), field: error.field });
        if (error.status !== 400) renewal = setTimeout(renew, (error.retryAfterS ?? 5) * 1000);
      }
    }, TYPING_MS);
    return () => {
      stale = true;
      clearTimeout(timer);
      clearTimeout(renewal);
    };
  }, [key, round]);

  const current = found.key === key ? found : { quote: null, trouble: null, field: null };
  return { ...current, again: () => setRound((count) => count + 1) };
}
