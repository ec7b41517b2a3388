/** Talking to a model at a terminal. It works on anything that answers as `Answers` does. */
export { Dialogue, type DialogueInit, type Parameters } from './dialogue.ts'
export { Lines, type LinesInit } from './lines.ts'
export { Repl, type ReplInit } from './repl.ts'
export { type Report, reportInWords, type Screen, show } from './show.ts'
