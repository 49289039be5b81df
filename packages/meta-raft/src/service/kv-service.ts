import { answerToWire, rangeAnswerToWire } from '../client/etcd-answers.js';
import { deleteFromWire, putFromWire, queryFromWire, transactionFromWire } from '../client/etcd-requests.js';
import { accepted, checkLimits } from '../client/requests.js';
import { MetaError } from '../errors.js';
import type {
  DeleteRangeResponse,
  KVServer,
  PutResponse,
  RangeResponse,
  TxnResponse,
} from '../gen/etcdserverpb/rpc.js';
import type {
  CommandResult,
  OperationAnswer,
  RequestIdentity,
  StateOperation,
  StateTransaction,
} from '../state/command.js';
import { responseHeader, type ServiceContext } from './service-context.js';
import { identityOf, unary } from './unary.js';

type Transacted = Extract<CommandResult, { readonly kind: 'transacted' }>;
type Requested = { readonly identity?: RequestIdentity };

/** etcdserverpb.KV over the state. Every member serves it: writes go to the leader, reads wait until they are linearizable. */
export function createKvService(context: ServiceContext): KVServer {
  const transact = (transaction: StateTransaction, requested: Requested) =>
    proposeTransaction(context, transaction, requested);
  const one = async (operation: StateOperation, requested: Requested) => {
    const result = await transact({ when: [], then: [operation], otherwise: [] }, requested);
    const [answer] = result.answers;
    if (!answer) throw new MetaError('FAILED', 'The operation has no answer.');
    return { answer, revision: result.revision };
  };
  return {
    range: unary(async (request): Promise<RangeResponse> => {
      const query = queryFromWire(request);
      if (!request.serializable) await context.access.readBarrier();
      const answer = context.access.state.range(query);
      if ('kind' in answer) throw new MetaError(answer.code, answer.message);
      return rangeAnswerToWire(answer, responseHeader(context));
    }),
    put: unary(async (request, call): Promise<PutResponse> => {
      const { answer, revision } = await one(putFromWire(request), identityOf(call));
      const message = answerToWire(expectAnswer(answer, 'put'), responseHeader(context, revision));
      return responseOf(message.response, 'responsePut');
    }),
    deleteRange: unary(async (request, call): Promise<DeleteRangeResponse> => {
      const { answer, revision } = await one(deleteFromWire(request), identityOf(call));
      const message = answerToWire(expectAnswer(answer, 'delete'), responseHeader(context, revision));
      return responseOf(message.response, 'responseDeleteRange');
    }),
    txn: unary(async (request, call): Promise<TxnResponse> => {
      const transaction = transactionFromWire(request);
      const result = isReadOnly(transaction)
        ? await transact(transaction, {})
        : await transact(transaction, identityOf(call));
      const header = responseHeader(context, result.revision);
      const responses = result.answers.map((answer) => answerToWire(answer, header));
      return { header, succeeded: result.branch === 'then', responses };
    }),
    compact: unary(async ({ revision }) => {
      const body = { kind: 'compact', revision: Math.max(0, revision) } as const;
      accepted(await context.access.propose({ body }), 'compacted');
      return { header: responseHeader(context) };
    }),
  };
}

async function proposeTransaction(
  context: ServiceContext,
  transaction: StateTransaction,
  requested: Requested,
): Promise<Transacted> {
  checkLimits(transaction, context.limits);
  return accepted(
    await context.access.propose({ body: { kind: 'transact', ...transaction }, ...requested }),
    'transacted',
  );
}

/** Repeating it does no harm, so nothing need be remembered of it. */
function isReadOnly(transaction: StateTransaction): boolean {
  const operations = [...transaction.then, ...transaction.otherwise];
  // An empty one is how a client introduces itself: that is to be remembered.
  return operations.length > 0 && operations.every((operation) => operation.op === 'range');
}

function expectAnswer<Op extends OperationAnswer['op']>(answer: OperationAnswer, op: Op): OperationAnswer {
  if (answer.op !== op) throw new MetaError('FAILED', `A ${op} was answered as a ${answer.op}.`);
  return answer;
}

function responseOf<U extends { readonly $case: string; readonly value: unknown }, Case extends U['$case']>(
  union: U | undefined,
  wanted: Case,
): Extract<U, { readonly $case: Case }>['value'] {
  if (union?.$case !== wanted) throw new MetaError('FAILED', `A ${wanted} was expected and ${union?.$case} came.`);
  return union.value as Extract<U, { readonly $case: Case }>['value']; // compared just above
}
