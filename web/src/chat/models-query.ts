import { type UseQueryResult, useQuery } from '@tanstack/react-query'
import { fetchModels, type Model } from '../api/models.ts'

/** Coverage changes within a minute. */
const FRESH_MS = 15_000

export function useModels(): UseQueryResult<readonly Model[]> {
  return useQuery({
    queryKey: ['models'],
    queryFn: ({ signal }) => fetchModels(signal),
    refetchInterval: FRESH_MS
  })
}
