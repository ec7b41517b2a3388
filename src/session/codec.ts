/** Which codec hidden states travel in. */
import { type RowCodec, type StageInfo, speaks } from '../net/index.ts'

/** `auto`: the smallest that was certified with the model. */
export type CodecChoice = 'auto' | RowCodec

/** The smallest first; of equal size, the one that keeps more bits. */
const BY_SIZE: readonly RowCodec[] = ['q8', 'f16', 'bf16', 'f32']

/** What was asked for, or f32 where a stage of the chain does not speak it. f32 needs no certificate. */
export function chooseCodec(
  asked: CodecChoice,
  certified: readonly string[],
  stages: readonly Pick<StageInfo, 'codecs' | 'profile'>[]
): RowCodec {
  const isGood = (codec: RowCodec): boolean =>
    asked === codec || (asked === 'auto' && certified.includes(codec))
  return BY_SIZE.find((codec) => isGood(codec) && stages.every((stage) => speaks(stage, codec))) ?? 'f32'
}
