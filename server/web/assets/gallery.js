// All avatars of the user, by project or together.

import { html, useEffect, useState } from "./vendor/preact-htm.js";
import { ask, readProjects } from "./api.js";
import { Empty, Heading, Loading, Trouble } from "./parts.js";
import { Projects } from "./projects.js";
import { Record } from "./record.js";
import { useApp } from "./store.js";
import { inWords, moment, plural } from "./words.js";

const PAGE = 48;
const ALL = "";

export function GalleryView() {
  const { projects, jobs } = useApp();
  const [projectId, setProjectId] = useState(ALL);
  const [found, setFound] = useState(null); // {avatars, total, more}; null while they are read
  const [trouble, setTrouble] = useState(null);
  const [open, setOpen] = useState(null);
  const drawn = jobs.filter((job) => job.status === "completed").length;

  const read = async (before = []) => {
    setTrouble(null);
    try {
      setFound(await (projectId === ALL ? pageOf(before) : within(projectId)));
    } catch (error) {
      setTrouble(inWords(error));
    }
  };
  const readAgain = () => {
    readProjects().catch(() => {}); // the avatars say what is wrong
    return read();
  };
  useEffect(() => void readAgain(), [projectId, drawn]);

  const choose = (id) => {
    setFound(null);
    setProjectId(id);
  };
  return html`<div class="gallery">
    <${Heading} aside=${found && html`<p class="hint">${plural(found.total, "avatar")}</p>`}>Gallery<//>
    <${Projects} projects=${projects} chosen=${projectId} onChoose=${choose} onChanged=${readAgain} />
    <${Trouble} text=${trouble}><button type="button" class="plain" onClick=${() => read()}>Try again</button><//>
    ${!found && !trouble && html`<${Loading} what="the avatars" shapes=${8} />`}
    ${found?.avatars.length === 0 && html`<${Empty} title="No avatars here yet"><p>What you draw is kept here.</p><a class="button primary" href="#/create">Draw one</a><//>`}
    ${found?.avatars.length > 0 && html`<ul class="grid">${found.avatars.map((avatar) => html`<${Tile} key=${avatar.id} avatar=${avatar} onOpen=${() => setOpen(avatar.id)} />`)}</ul>`}
    ${found?.more && html`<div class="actions middle"><button type="button" class="plain" onClick=${() => read(found.avatars)}>Show more</button></div>`}
    ${open && html`<${Record} id=${open} onChanged=${readAgain} onClose=${() => setOpen(null)} />`}
  </div>`;
}

/** The next page of all avatars, behind those that are known. */
async function pageOf(before) {
  const { avatars, meta } = await ask("GET", `/avatars?limit=${PAGE}&offset=${before.length}`);
  const known = new Set(before.map(({ id }) => id)); // one may have been drawn meanwhile
  return { avatars: [...before, ...avatars.filter(({ id }) => !known.has(id))], total: meta.total, more: meta.hasMore };
}

async function within(projectId) {
  const { project } = await ask("GET", `/projects/${projectId}`);
  return { avatars: project.avatars, total: project.avatars.length, more: false };
}

/** The button that opens an avatar's record. */
export function Tile({ avatar, onOpen }) {
  return html`<li>
    <button type="button" class="tile" onClick=${onOpen}>
      <img src=${avatar.thumbnailUrl} alt="" width="300" height="300" loading="lazy" decoding="async" />
      <span class="tile-name">${avatar.name}</span>
      <span class="tile-when">${moment(avatar.createdAt)}</span>
    </button>
  </li>`;
}
