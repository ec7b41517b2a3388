import { createElement, memo, type ReactNode } from 'react'
import { type MathNode, parseLatex } from './latex.ts'
import type { Formula as FormulaProps } from './math-marks.ts'

/** A formula, drawn by the browser; copied, it is LaTeX again. */
export const Formula = memo(function Formula({ latex, isDisplay }: FormulaProps): ReactNode {
  const presentation = rendered(parseLatex(latex, isDisplay))
  const source = createElement('annotation', { encoding: 'application/x-tex' }, latex)
  return createElement(
    'math',
    { display: isDisplay ? 'block' : 'inline', className: isDisplay ? 'overflow-x-auto py-2' : undefined },
    createElement('semantics', undefined, presentation, source)
  )
})

function rendered(node: MathNode): ReactNode {
  if (typeof node === 'string') return node
  return createElement(node.tag, node.attributes, ...node.children.map(rendered))
}
