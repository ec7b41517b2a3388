import { expect, test } from 'vitest'
import { gatewayCommand } from './gateway.ts'

test.each(['0.0.0.0', '::', '192.0.2.1', 'shoal.example', '127.evil.example'])(
  'strangers who reach %s need keys, unless it is said that they do not',
  async (host) => {
    const started = gatewayCommand().parseAsync(['--host', host, '--port', '0'], { from: 'user' })
    await expect(started).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('--anonymous')
    })
  }
)
