// In NODE_OPTIONS of everything that tests start. Plain JavaScript, since an old Node is started, too: it only says
// that it is too old.
if (Number(process.versions.node.split('.')[0]) >= 24) await import('./child.ts')
