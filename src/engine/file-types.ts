/**
 * What a model's file can be quantized to, by the names that llama-quantize has for it, and `llama_ftype`'s number.
 * Most are mixtures: some tensors get more bits than the name says.
 */
export const FILE_TYPES: Readonly<Record<string, number>> = {
  ...{ F32: 0, F16: 1, BF16: 32 },
  ...{ Q8_0: 7, Q5_1: 9, Q5_0: 8, Q4_1: 3, Q4_0: 2, Q2_0: 41, Q1_0: 40 },
  ...{ Q6_K: 18, Q5_K_M: 17, Q5_K_S: 16, Q4_K_M: 15, Q4_K_S: 14 },
  ...{ Q3_K_L: 13, Q3_K_M: 12, Q3_K_S: 11, Q2_K: 10, Q2_K_S: 21 },
  ...{ IQ4_NL: 25, IQ4_XS: 30, IQ3_M: 27, IQ3_S: 26, IQ3_XS: 22, IQ3_XXS: 23 },
  ...{ IQ2_M: 29, IQ2_S: 28, IQ2_XS: 20, IQ2_XXS: 19, IQ1_M: 31, IQ1_S: 24 },
  ...{ TQ2_0: 37, TQ1_0: 36, MXFP4_MOE: 38 }
}

/** Other names for some of them. */
export const FILE_TYPE_ALIASES: Readonly<Record<string, string>> = {
  Q5_K: 'Q5_K_M',
  Q4_K: 'Q4_K_M',
  Q3_K: 'Q3_K_M'
}

/** Not a type: all tensors stay as they are. */
export const COPY = 'COPY'
