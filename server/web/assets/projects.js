// The projects above the gallery: choosing, making, renaming and deleting them.

import { html, useState } from "./vendor/preact-htm.js";
import { ask } from "./api.js";
import { Confirm, Dialog, Rename } from "./parts.js";
import { toast } from "./store.js";
import { plural, tried } from "./words.js";

export function Projects({ projects, chosen, onChoose, onChanged }) {
  const [doing, setDoing] = useState(null); // new, rename or delete
  const project = projects?.find(({ id }) => id === chosen);
  const done = async () => {
    setDoing(null);
    await onChanged();
  };

  const make = (name) =>
    tried(async () => {
      await ask("POST", "/projects", { body: { name } });
      await done();
    });
  const rename = (name) =>
    tried(async () => {
      await ask("PUT", `/projects/${project.id}`, { body: { name } });
      await done();
    });
  const remove = () =>
    tried(async () => {
      await ask("DELETE", `/projects/${project.id}`);
      toast(`The project ${project.name} is deleted.`);
      setDoing(null);
      onChoose("");
      await onChanged();
    });

  return html`<div class="projects">
    <div class="segments" role="group" aria-label="Project">
      <button type="button" class="segment-button" aria-pressed=${chosen === ""} onClick=${() => onChoose("")}>All</button>
      ${(projects ?? []).map(
        ({ id, name }) =>
          html`<button key=${id} type="button" class="segment-button" aria-pressed=${chosen === id} onClick=${() => onChoose(id)}>${name}</button>`,
      )}
    </div>
    <div class="actions">
      <button type="button" class="quiet" onClick=${() => setDoing("new")}>New project</button>
      ${project && html`<button type="button" class="quiet" onClick=${() => setDoing("rename")}>Rename project</button>`}
      ${project && html`<button type="button" class="quiet" onClick=${() => setDoing("delete")}>Delete project</button>`}
    </div>
    ${doing === "new" && html`<${Naming} title="New project" value="" onSave=${make} onClose=${() => setDoing(null)} />`}
    ${doing === "rename" && html`<${Naming} title="Rename project" value=${project.name} onSave=${rename} onClose=${() => setDoing(null)} />`}
    ${doing === "delete" &&
    html`<${Confirm} title=${`Delete ${project.name}?`} action="Delete project" onConfirm=${remove} onClose=${() => setDoing(null)}
      text=${`Its ${plural(project.avatars.length, "avatar")} and their images are deleted with it, for good. What is still being drawn in it is cancelled and given back.`} />`}
  </div>`;
}

function Naming({ title, value, onSave, onClose }) {
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <${Rename} label="Name" value=${value} onSave=${onSave} onClose=${onClose} />
  <//>`;
}
