/** Talking to a model at a terminal. It works on anything that answers as `Answers` does. */
export { Dialogue, type Parameters } from './dialogue.ts'
export { Lines } from './lines.ts'
export { Repl } from './repl.ts'
export { reportInWords, show } from './show.ts'
