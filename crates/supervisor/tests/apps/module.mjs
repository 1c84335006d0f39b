import { createServer } from 'node:http';
const server = createServer((request, answer) => answer.end('module\n'));
server.listen({ port: 3000, host: '0.0.0.0' }, () => console.log('listens', server.address().port));
