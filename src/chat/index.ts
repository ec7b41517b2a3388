export { createAnswers } from './answers.ts'
export type * from './contract.ts'
export { AnswerError, type AnswerErrorCode, type AnswerErrorData } from './errors.ts'
