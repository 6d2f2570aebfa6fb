// The npm package @langchain/openai.
import { HumanMessage, ToolMessage } from '@langchain/core/messages';
import { ChatOpenAI, OpenAI, OpenAIEmbeddings } from '@langchain/openai';
import { assert, callArguments, callMessage, check, city, echo, isEmbedding, joined, ledger, left, model, one, other, picture, reached, settled, spy, thrown, token } from './pool.mjs';

const settings = (node, scene, { fetch, ...more } = {}) => ({
  model: model(scene), apiKey: token, maxRetries: 0, configuration: { baseURL: `${node}/v1`, fetch }, ...more,
});
const at = (node, scene, more) => new ChatOpenAI(settings(node, scene, more));
const whole = (node, scene, more) => at(node, scene, more).invoke('hello');
const stream = async (node, scene) => joined(await at(node, scene).stream('hello'), (chunk) => chunk.content);

// failed wants an error of the client library below.
const failed = (e, name, status, words) => {
  assert.equal(e.status, status, e);
  assert.equal(e.constructor.name, name);
  assert.match(e.message, words);
};

await check('a chat is answered whole', async () => {
  const seen = spy();
  const got = await whole(one, 'good', { fetch: seen.fetch });
  assert.equal(got.content, echo('hello'));
  assert.equal(got.response_metadata.finish_reason, 'stop');
  assert.equal(got.usage_metadata.total_tokens, 3);
  assert.ok(seen.calls[0].headers.get('x-request-id'));
  await reached('good', seen.calls[0].body);
});

await check('a chat is streamed with its usage', async () => {
  let usage;
  const text = await joined(await at(other, 'good').stream('hello'), (chunk) => ((usage = chunk.usage_metadata ?? usage), chunk.content));
  assert.equal(text, echo('hello'));
  assert.equal(usage.total_tokens, 3);
});

const tools = [{ type: 'function', function: { name: 'weather', description: 'tells it', parameters: city } }];

await check('a tool is called, and its result answered', async () => {
  const got = await at(one, 'good').bindTools(tools).invoke(callMessage);
  const [call] = got.tool_calls;
  assert.deepEqual([call.name, call.args], ['weather', callArguments]);
  const seen = spy();
  const next = await at(other, 'good', { fetch: seen.fetch }).bindTools(tools)
    .invoke([new HumanMessage(callMessage), got, new ToolMessage({ tool_call_id: call.id, content: 'sun' })]);
  assert.equal(next.content, echo(callMessage));
  await reached('good', seen.calls[0].body);
});

await check('a tool call is streamed', async () => {
  let sum;
  for await (const chunk of await at(other, 'good').bindTools(tools).stream(callMessage)) sum = sum ? sum.concat(chunk) : chunk;
  assert.deepEqual([sum.tool_calls[0].name, sum.tool_calls[0].args], ['weather', callArguments]);
});

await check('a picture passes as it is', async () => {
  const seen = spy();
  const url = `data:image/png;base64,${picture}`;
  const content = [{ type: 'text', text: 'what is this?' }, { type: 'image_url', image_url: { url } }];
  const got = await at(one, 'good', { fetch: seen.fetch }).invoke([new HumanMessage({ content })]);
  assert.equal(got.content, echo('what is this?'));
  assert.ok(seen.calls[0].body.includes(picture));
  await reached('good', seen.calls[0].body);
});

await check('documents and a query are embedded', async () => {
  const [a, b] = await new OpenAIEmbeddings(settings(one, 'good')).embedDocuments(['a', 'b']);
  assert.ok(isEmbedding(a) && isEmbedding(b));
  assert.deepEqual(await new OpenAIEmbeddings(settings(other, 'good')).embedQuery('b'), b);
});

await check('a text is completed', async () => {
  assert.equal(await new OpenAI(settings(other, 'good')).invoke('once'), echo('once'));
});

await check('a response is made, whole and as a stream', async () => {
  const by = { useResponsesApi: true };
  assert.equal((await at(one, 'good', by).invoke('hello')).text, echo('hello'));
  assert.equal(await joined(await at(other, 'good', by).stream('hello'), (chunk) => chunk.text), echo('hello'));
});

await check('who leaves before the answer ends the attempt', async () => {
  const e = await left('silent', (signal) => at(one, 'silent').invoke('hello', { signal }));
  assert.match(String(e), /abort/i);
});

await check('who leaves a stream ends it at the upstream', async () => {
  const leave = new AbortController();
  const e = await thrown(joined(await at(other, 'slow').stream('hello', { signal: leave.signal }), (chunk) => chunk.content && leave.abort()));
  assert.match(String(e), /abort/i);
  await settled('slow', 'canceled');
});

await check('a wrong token is an AuthenticationError', async () => {
  for (const node of [one, other]) failed(await thrown(whole(node, 'good', { apiKey: 'sk-pool-nonsense' })), 'AuthenticationError', 401, /API key/);
});

await check('a model that nobody has is a NotFoundError', async () => {
  failed(await thrown(whole(one, 'gone')), 'NotFoundError', 404, /model/);
  failed(await thrown(stream(other, 'gone')), 'NotFoundError', 404, /model/);
  failed(await thrown(whole(one, 'good', { model: 'no/such' })), 'NotFoundError', 404, /model/);
});

await check('a refused request is a BadRequestError in the upstream\'s words', async () => {
  failed(await thrown(whole(one, 'refused')), 'BadRequestError', 400, /Bad Request/);
  failed(await thrown(stream(other, 'refused')), 'BadRequestError', 400, /Bad Request/);
  assert.equal((await ledger('refused')).length, 2);
});

await check('limited keys are a RateLimitError', async () => {
  failed(await thrown(whole(one, 'limited')), 'RateLimitError', 429, /limited/);
  failed(await thrown(stream(other, 'limited')), 'RateLimitError', 429, /limited/);
});

await check('limits are not taken for a quota: the library tries again', async () => {
  const seen = spy();
  assert.equal((await whole(one, 'cooling', { fetch: seen.fetch, maxRetries: 6 })).content, echo('hello'));
  assert.deepEqual([seen.calls[0].status, seen.calls.at(-1).status], [429, 200]);
});

await check('dead keys are no fault of the client', async () => {
  failed(await thrown(whole(one, 'dead')), 'InternalServerError', 503, /upstream key/);
});

await check('a cut answer is no success', async () => {
  failed(await thrown(whole(one, 'cut')), 'InternalServerError', 502, /broken|cut/);
  await thrown(stream(other, 'cut'));
});

await check('an answer that ends early is no success', async () => {
  failed(await thrown(whole(other, 'early')), 'InternalServerError', 502, /broken/);
  await thrown(stream(one, 'early'));
});

await check('a stream that breaks is an error in the upstream\'s words', async () => {
  assert.match((await thrown(stream(one, 'breaks'))).message, /rate limit exceeded/);
});

await check('a dead key is passed over unseen', async () => {
  assert.equal((await whole(one, 'failover')).content, echo('hello'));
  assert.deepEqual((await ledger('failover')).map((e) => e.status), [401, 200]);
});

await check('a stream that begins with an error is made good unseen', async () => {
  assert.equal(await stream(other, 'stumbles'), echo('hello'));
  assert.deepEqual((await ledger('stumbles')).map((e) => e.outcome), ['broken', 'completed']);
});
