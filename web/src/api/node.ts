/** A person's own node. `/api/node` is there on local gateways only. */
import { type UseMutationResult, useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import type {
  InviteReport,
  InviteRequest,
  JoinReport,
  LogReport,
  NodeReport,
  PullReport,
  PullRequest,
  SettingsRequest,
  ShareRequest
} from '../../../src/gateway/node-control.ts'
import { toast } from '../ui/index.ts'
import { type ApiError, call, send } from './http.ts'
import { type Live, useLive } from './live.ts'

export type {
  Contribution,
  InviteReport,
  LogReport,
  NodeReport,
  PullReport,
  SettingsRequest,
  SharingSettings,
  StoredModelReport
} from '../../../src/gateway/node-control.ts'

const PATH = '/api/node'
/** Nobody reads faster. */
const LOGS_MS = 3_000

export function useNode(): Live<NodeReport> {
  return useLive<NodeReport>(PATH)
}

/** As it was when asked; undefined until then, and where this is somebody else's gateway. */
export function useNodeOnce({ enabled }: { readonly enabled: boolean }): NodeReport | undefined {
  return useQuery<NodeReport, ApiError>({
    queryKey: [PATH],
    queryFn: ({ signal }) => call<NodeReport>(PATH, { signal }),
    enabled,
    retry: false,
    staleTime: Number.POSITIVE_INFINITY
  }).data
}

export type Action<In, Out = NodeReport> = UseMutationResult<Out, ApiError, In>

/**
 * While it is asked for, `isPending` and `variables` say what was wanted, so that it can be shown at once; when it is
 * refused the report has never changed, and a toast says why.
 */
function useAction<In>(ask: (input: In) => Promise<NodeReport>): Action<In> {
  const queries = useQueryClient()
  return useMutation<NodeReport, ApiError, In>({
    mutationFn: ask,
    onSuccess: (report) => queries.setQueryData([PATH], report),
    onError: (error) => toast(error.message, { isError: true })
  })
}

export const useShare = () => useAction((body: ShareRequest) => send('POST', `${PATH}/share`, body))
export const useCommand = () =>
  useAction((what: 'pause' | 'resume' | 'finish') => send('POST', `${PATH}/${what}`, {}))
export const useSettings = () => useAction((body: SettingsRequest) => send('PATCH', `${PATH}/settings`, body))
/** A model or a pull, by its id. */
export const useRemove = () =>
  useAction((id: string) => send('DELETE', `${PATH}/models/${encodeURIComponent(id)}`))
export const useSeed = () =>
  useAction(({ id, seed }: { readonly id: string; readonly seed: boolean }) =>
    send('PATCH', `${PATH}/models/${encodeURIComponent(id)}`, { seed })
  )

/** Those whose forms tell what was refused. The report comes by itself, as an event. */
export const usePull = (): Action<PullRequest, PullReport> =>
  useMutation({ mutationFn: (body) => send('POST', `${PATH}/models`, body) })
export const useInvite = (): Action<InviteRequest, InviteReport> =>
  useMutation({ mutationFn: (body) => send('POST', `${PATH}/invite`, body) })
export const useJoin = (): Action<string, JoinReport> =>
  useMutation({ mutationFn: (token) => send('POST', `${PATH}/join`, { token }) })
export const useLeave = (): Action<void, JoinReport> =>
  useMutation({ mutationFn: () => send('POST', `${PATH}/leave`, {}) })

export function useLogs(lines: number) {
  return useQuery<LogReport, ApiError>({
    queryKey: [PATH, 'logs', lines],
    queryFn: ({ signal }) => call<LogReport>(`${PATH}/logs?lines=${lines}`, { signal }),
    refetchInterval: LOGS_MS
  })
}
