/** What makes each system start a node when its owner logs in. */
import { homedir } from 'node:os'
import { join } from 'node:path'

export interface ServiceFile {
  readonly path: string
  readonly text: string
  /** To be run by hand, in turn. */
  readonly enable: readonly (readonly string[])[]
  readonly disable: readonly (readonly string[])[]
}

export interface ServiceInit {
  /** A program and its arguments. */
  readonly command: readonly string[]
  readonly dataDir: string
  readonly environment: Readonly<Record<string, string | undefined>>
}

/** "shoal finish" takes two minutes at most. */
const END_SECONDS = 150
const LABEL = 'shoal.node'

/** Undefined where the system has no service of its own that is known here. */
export function serviceFile(platform: NodeJS.Platform, init: ServiceInit): ServiceFile | undefined {
  if (platform === 'linux') return systemd(init)
  if (platform === 'darwin') return launchd(init)
  return platform === 'win32' ? scheduledTask(init) : undefined
}

function systemd({ command, environment }: ServiceInit): ServiceFile {
  const folder = environment.XDG_CONFIG_HOME || join(homedir(), '.config')
  const text = `[Unit]
Description=Shoal node

[Service]
ExecStart=${command.map(systemdQuoted).join(' ')}
Restart=on-failure
RestartSec=10
TimeoutStopSec=${END_SECONDS}
NoNewPrivileges=true

[Install]
WantedBy=default.target
`
  return {
    ...{ path: join(folder, 'systemd', 'user', 'shoal.service'), text },
    enable: [
      ['systemctl', '--user', 'daemon-reload'],
      ['systemctl', '--user', 'enable', '--now', 'shoal.service']
    ],
    disable: [['systemctl', '--user', 'disable', '--now', 'shoal.service']]
  }
}

/** As systemd.service(5) has it: no specifiers, no variables. */
function systemdQuoted(word: string): string {
  return `"${word.replace(/["\\]/g, '\\$&').replaceAll('%', '%%').replaceAll('$', '$$$$')}"`
}

function launchd({ command, dataDir }: ServiceInit): ServiceFile {
  const path = join(homedir(), 'Library', 'LaunchAgents', `${LABEL}.plist`)
  const text = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>Label</key>
  <string>${LABEL}</string>
  <key>ProgramArguments</key>
  <array>
${command.map((word) => `    <string>${xml(word)}</string>`).join('\n')}
  </array>
  <key>RunAtLoad</key>
  <true/>
  <key>KeepAlive</key>
  <dict>
    <key>SuccessfulExit</key>
    <false/>
  </dict>
  <key>ExitTimeOut</key>
  <integer>${END_SECONDS}</integer>
  <key>StandardErrorPath</key>
  <string>${xml(join(dataDir, 'logs', 'service.log'))}</string>
</dict>
</plist>
`
  return {
    path,
    text,
    enable: [['launchctl', 'load', '-w', path]],
    disable: [['launchctl', 'unload', '-w', path]]
  }
}

/** For the task scheduler: a real service would run as another user, without this one's folders. */
function scheduledTask({ command, dataDir }: ServiceInit): ServiceFile {
  const [program = '', ...words] = command
  const path = join(dataDir, 'shoal-task.xml')
  const text = `<?xml version="1.0" encoding="UTF-8"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <Triggers>
    <LogonTrigger>
      <Enabled>true</Enabled>
    </LogonTrigger>
  </Triggers>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>true</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>true</StopIfGoingOnBatteries>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <RestartOnFailure>
      <Interval>PT1M</Interval>
      <Count>999</Count>
    </RestartOnFailure>
  </Settings>
  <Actions Context="Author">
    <Exec>
      <Command>${xml(program)}</Command>
      <Arguments>${xml(words.map(windowsQuoted).join(' '))}</Arguments>
    </Exec>
  </Actions>
</Task>
`
  return {
    ...{ path, text },
    enable: [
      ['schtasks', '/Create', '/F', '/TN', 'Shoal', '/XML', path],
      ['schtasks', '/Run', '/TN', 'Shoal']
    ],
    disable: [['schtasks', '/Delete', '/F', '/TN', 'Shoal']]
  }
}

/** As CommandLineToArgvW takes it apart. */
function windowsQuoted(word: string): string {
  return `"${word.replace(/(\\*)"/g, '$1$1\\"').replace(/(\\+)$/, '$1$1')}"`
}

function xml(text: string): string {
  const names: Readonly<Record<string, string>> = { '&': 'amp', '<': 'lt', '>': 'gt', '"': 'quot' }
  return text.replace(/[&<>"]/g, (character) => `&${names[character]};`)
}
