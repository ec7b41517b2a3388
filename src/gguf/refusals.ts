/** Why an architecture isn't certified, where it is more than that nobody has tried. */
export const refusals: ReadonlyMap<string, string> = new Map([
  ...because('its state cannot be cut back to an earlier position', [
    'mamba',
    'mamba2',
    'rwkv6',
    'rwkv6qwen2',
    'rwkv7',
    'arwkv7'
  ]),
  ...because('some of its blocks keep a running state that cannot be cut back to an earlier position', [
    'jamba',
    'falcon-h1',
    'plamo2',
    'granitehybrid',
    'lfm2',
    'lfm2moe',
    'nemotron_h',
    'nemotron_h_moe',
    'qwen3next',
    'qwen35',
    'qwen35moe',
    'qwen4exp',
    'kimi-linear',
    'kimi-k3',
    'bailingmoe3',
    'minimax-01',
    'deepseek4'
  ]),
  ...because(
    'its blocks also need per-block embeddings of the token, and later blocks share earlier caches',
    ['gemma3n', 'gemma4', 'gemma4-assistant']
  ),
  ...because('it is an encoder: it writes no text', [
    'bert',
    'modern-bert',
    'nomic-bert',
    'nomic-bert-moe',
    'neo-bert',
    'jina-bert-v2',
    'jina-bert-v3',
    'eurobert',
    'gemma-embedding',
    'llama-embed',
    't5encoder'
  ]),
  ...because('its decoder attends to an encoder', ['t5']),
  ...because('it writes by diffusion, many tokens at once', ['dream', 'llada', 'llada-moe', 'rnd1']),
  ...because('it is not a text model', ['clip', 'wavtokenizer-dec', 'qwen3tts', 'pockettts']),
  ...because('its blocks run several times, in a loop', ['hrm_text', 'nanbeige']),
  ...because('it only drafts for another model', ['eagle3', 'dflash']),
  ...because('its first blocks also take features of the picture', ['qwen3vl', 'qwen3vlmoe']),
  ...because('which blocks use positions or experts is counted from the first block', [
    'llama4',
    'smollm3',
    'smallthinker',
    'afmoe',
    'ernie4_5-moe'
  ]),
  ...because('how it encodes positions follows from its number of blocks', ['baichuan']),
  ...because('its first blocks are dense, and its shape follows from its number of blocks', [
    'deepseek',
    'deepseek2',
    'deepseek2-ocr',
    'deepseek32'
  ]),
  ...because('it scales hidden states as if they were embeddings', [
    'gemma',
    'granite',
    'granitemoe',
    'granite_swa',
    'minicpm'
  ]),
  ...because('its blocks need the token ids', ['graniteswitch', 'cogvlm'])
])

function because(reason: string, architectures: readonly string[]): [string, string][] {
  return architectures.map((architecture) => [architecture, reason])
}
