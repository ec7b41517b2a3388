import { homedir } from 'node:os'
import { describe, expect, test } from 'vitest'
import { serviceFile } from './service-files.ts'

const INIT = {
  command: ['/opt/my node/bin/node', '/opt/shoal/bin/shoal.js', 'up', '--data-dir', '/home/a&b/50%/$x"'],
  dataDir: '/home/a&b/50%/$x"',
  environment: {}
}

describe('a service starts "shoal up" at login', () => {
  test('with systemd, whose quotes and specifiers mean nothing here', () => {
    const file = serviceFile('linux', { ...INIT, environment: { XDG_CONFIG_HOME: '/xdg' } })
    expect(file?.path).toBe('/xdg/systemd/user/shoal.service')
    expect(file?.text).toContain(
      'ExecStart="/opt/my node/bin/node" "/opt/shoal/bin/shoal.js" "up" "--data-dir" "/home/a&b/50%%/$$x\\""\n'
    )
    expect(file?.text).toMatch(
      /\nRestart=on-failure\n[\s\S]*\nTimeoutStopSec=150\n[\s\S]*\nWantedBy=default\.target\n$/
    )
    expect(file?.enable.at(-1)).toEqual(['systemctl', '--user', 'enable', '--now', 'shoal.service'])
    expect(serviceFile('linux', INIT)?.path).toBe(`${homedir()}/.config/systemd/user/shoal.service`)
  })

  test('with launchd', () => {
    const file = serviceFile('darwin', INIT)
    expect(file?.path).toBe(`${homedir()}/Library/LaunchAgents/shoal.node.plist`)
    expect(file?.text).toContain(
      '<string>/opt/my node/bin/node</string>\n    <string>/opt/shoal/bin/shoal.js</string>'
    )
    expect(file?.text).toContain('<string>/home/a&amp;b/50%/$x&quot;</string>')
    expect(file?.enable).toEqual([['launchctl', 'load', '-w', file?.path]])
  })

  test('with the task scheduler of Windows', () => {
    const command = ['C:\\node.exe', 'C:\\a b\\shoal.js', 'up', '--data-dir', 'D:\\x\\']
    const file = serviceFile('win32', { ...INIT, command })
    expect(file?.text).toContain('<Command>C:\\node.exe</Command>')
    expect(file?.text).toContain(
      '<Arguments>&quot;C:\\a b\\shoal.js&quot; &quot;up&quot; &quot;--data-dir&quot; &quot;D:\\x\\\\&quot;</Arguments>'
    )
    expect(file?.disable).toEqual([['schtasks', '/Delete', '/F', '/TN', 'Shoal']])
  })

  test('and elsewhere there is none', () => {
    expect(serviceFile('aix', INIT)).toBeUndefined()
  })
})
