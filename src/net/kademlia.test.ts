import { expect, test } from 'vitest'
import { bounded } from './kademlia.ts'

type Datastore = Parameters<typeof bounded>[0]
type Key = Parameters<Datastore['put']>[0]

/** As much of a datastore as it takes. */
function fake(): { records: Set<string>; datastore: Datastore } {
  const records = new Set<string>()
  const datastore = {
    put: async (key: Key) => {
      records.add(key.toString())
      return key
    },
    delete: async (key: Key) => {
      records.delete(key.toString())
    }
  }
  return { records, datastore: datastore as unknown as Datastore }
}

test('the oldest records of providers are forgotten when there are too many', async () => {
  const { records, datastore } = fake()
  const store = bounded(datastore, 3)
  const put = async (name: string) => store.put(name as unknown as Key, new Uint8Array(1))
  for (const name of ['a', 'b', 'c', 'a', 'd']) await put(name)
  expect([...records].toSorted()).toEqual(['a', 'c', 'd'])
  await store.delete('a' as unknown as Key)
  await put('e')
  expect([...records].toSorted()).toEqual(['c', 'd', 'e'])
})
