// Two servers that answer their letter, and say where they listen. What is done with them is appended.
const servers = ['a', 'b'].map((letter) => require('http').createServer((request, answer) => answer.end(`${letter}\n`)));
const [a, b] = servers;
for (const server of servers) {
  server.on('listening', () => {
    const at = server.address();
    console.log('listens', typeof at === 'string' ? at : `${at.address} ${at.port}`);
  });
}
