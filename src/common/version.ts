import manifest from '../../package.json' with { type: 'json' }

export const VERSION: string = manifest.version

/** Of what it stands on, exactly, as package.json has them. */
export const LIBRARIES: Readonly<Record<'libp2p' | 'llama', string>> = {
  libp2p: manifest.dependencies.libp2p,
  llama: manifest.optionalDependencies['@node-llama-cpp/linux-x64']
}
