// The npm package ollama, which speaks Ollama's own API.
import { Ollama } from 'ollama';
import { assert, callArguments, callMessage, check, city, echo, isEmbedding, joined, ledger, left, model, one, other, picture, reached, settled, spy, thrown, token } from './pool.mjs';

const at = (node, fetch, key = token) => new Ollama({ host: node, fetch, headers: { Authorization: `Bearer ${key}` } });
const say = (scene, content = 'hello', more) => ({ model: model(scene), messages: [{ role: 'user', content, ...more }] });
const whole = (node, scene) => at(node).chat(say(scene));
const stream = async (node, scene) => joined(await at(node).chat({ ...say(scene), stream: true }), (line) => line.message.content);

await check('a chat is answered whole', async () => {
  const seen = spy();
  const got = await at(one, seen.fetch).chat(say('good'));
  assert.equal(got.message.content, echo('hello'));
  assert.deepEqual([got.done, got.done_reason, got.prompt_eval_count, got.eval_count], [true, 'stop', 1, 2]);
  assert.ok(seen.calls[0].headers.get('x-request-id'));
  await reached('good', seen.calls[0].body);
});

await check('a chat is streamed', async () => {
  const seen = spy();
  let last;
  const text = await joined(await at(other, seen.fetch).chat({ ...say('good'), stream: true }), (line) => ((last = line), line.message.content));
  assert.equal(text, echo('hello'));
  assert.deepEqual([last.done, last.eval_count], [true, 2]);
  assert.equal(seen.calls[0].headers.get('content-type'), 'application/x-ndjson');
});

await check('a text is generated, whole and as a stream', async () => {
  const ask = { model: model('good'), prompt: 'once' };
  assert.equal((await at(other).generate(ask)).response, echo('once'));
  assert.equal(await joined(await at(one).generate({ ...ask, stream: true }), (line) => line.response), echo('once'));
});

const tools = [{ type: 'function', function: { name: 'weather', description: 'tells it', parameters: city } }];

await check('a tool is called, and its result answered', async () => {
  const ask = { ...say('good', callMessage), tools };
  const { message } = await at(one).chat(ask);
  assert.deepEqual(message.tool_calls[0].function, { name: 'weather', arguments: callArguments });
  const seen = spy();
  ask.messages.push(message, { role: 'tool', tool_name: 'weather', content: 'sun' });
  assert.equal((await at(other, seen.fetch).chat(ask)).message.content, echo(callMessage));
  await reached('good', seen.calls[0].body);
});

await check('a tool call is streamed', async () => {
  const calls = [];
  for await (const line of await at(other).chat({ ...say('good', callMessage), tools, stream: true })) calls.push(...(line.message.tool_calls ?? []));
  assert.deepEqual(calls.map((c) => c.function), [{ name: 'weather', arguments: callArguments }]);
});

await check('a picture passes as it is', async () => {
  const seen = spy();
  const images = [new Uint8Array(Buffer.from(picture, 'base64'))];
  const got = await at(one, seen.fetch).chat(say('good', 'what is this?', { images }));
  assert.equal(got.message.content, echo('what is this?'));
  assert.ok(seen.calls[0].body.includes(picture));
  await reached('good', seen.calls[0].body);
});

await check('inputs are embedded, the new way and the old', async () => {
  const { embeddings } = await at(one).embed({ model: model('good'), input: ['a', 'b'] });
  assert.ok(embeddings.length === 2 && embeddings.every(isEmbedding));
  const { embedding } = await at(other).embeddings({ model: model('good'), prompt: 'b' });
  assert.deepEqual(embedding, embeddings[1]);
});

await check('the models are listed, and one is told', async () => {
  for (const list of [await at(one).list(), await at(other).ps()]) assert.ok(list.models.some((m) => m.name === model('good')));
  assert.ok((await at(other).show({ model: model('good') })).capabilities.includes('tools'));
  assert.match((await at(one).version()).version, /^\d+\.\d+/);
});

await check('who leaves a stream ends it at the upstream', async () => {
  const client = at(other);
  const e = await thrown(joined(await client.chat({ ...say('slow'), stream: true }), (line) => (client.abort(), line.message.content)));
  assert.equal(e.name, 'AbortError');
  await settled('slow', 'canceled');
});

await check('who leaves before the answer ends the attempt', async () => {
  const e = await left('silent', (signal) => at(one, (url, init) => fetch(url, { ...init, signal })).chat(say('silent')));
  assert.equal(e.name, 'AbortError');
});

// refused wants an error that the library can read: its error is a text.
const refused = (e, status, words) => {
  assert.equal(e.name, 'ResponseError', e);
  assert.equal(e.status_code, status, e.message);
  assert.match(e.message, words);
};

await check('a wrong token is refused', async () => {
  for (const node of [one, other]) refused(await thrown(at(node, undefined, 'sk-pool-nonsense').chat(say('good'))), 401, /API key/);
});

await check('a model that nobody has is not found', async () => {
  refused(await thrown(whole(one, 'gone')), 404, /model/);
  refused(await thrown(stream(other, 'gone')), 404, /model/);
  refused(await thrown(at(one).chat({ ...say('good'), model: 'no/such' })), 404, /model/);
});

await check('a refused request is told in the upstream\'s words', async () => {
  refused(await thrown(whole(one, 'refused')), 400, /Bad Request/);
  refused(await thrown(stream(other, 'refused')), 400, /Bad Request/);
  assert.equal((await ledger('refused')).length, 2);
});

await check('limited keys are told so', async () => {
  refused(await thrown(whole(one, 'limited')), 429, /limited/);
  refused(await thrown(stream(other, 'limited')), 429, /limited/);
});

await check('dead keys are no fault of the client', async () => {
  refused(await thrown(whole(one, 'dead')), 503, /upstream key/);
});

await check('a cut answer is no success', async () => {
  refused(await thrown(whole(one, 'cut')), 502, /broken|cut/);
  await thrown(stream(other, 'cut'));
});

await check('an answer that ends early is no success', async () => {
  refused(await thrown(whole(other, 'early')), 502, /broken/);
  await thrown(stream(one, 'early'));
});

await check('a stream that breaks is an error in the upstream\'s words', async () => {
  assert.match((await thrown(stream(one, 'breaks'))).message, /rate limit exceeded/);
});

await check('a dead key is passed over unseen', async () => {
  assert.equal((await whole(one, 'failover')).message.content, echo('hello'));
  assert.deepEqual((await ledger('failover')).map((e) => e.status), [401, 200]);
});

await check('a stream that begins with an error is made good unseen', async () => {
  assert.equal(await stream(other, 'stumbles'), echo('hello'));
  assert.deepEqual((await ledger('stumbles')).map((e) => e.outcome), ['broken', 'completed']);
});
