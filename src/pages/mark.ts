/** Our mark, a gate in a wall, as the icon of a page. */
export const mark = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><path fill="#0b5c8a" d="M4 29V11a2 2 0 0 1 2-2h1V5h4v4h3V5h4v4h3V5h4v4h1a2 2 0 0 1 2 2v18z"/><path fill="#fff" d="M11 29v-8a5 5 0 0 1 10 0v8z"/></svg>`;

/** Its file name under `assets/`. */
export const markName = 'mark-1.svg';
