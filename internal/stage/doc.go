// Package stage holds the props of the demo and the bench: everything around a hub, all of it real.
//
//   - CA makes a certificate authority and server certificates for one run;
//   - Site is a small web application with its own session table, its own sign-in and its own
//     administrator's API; it counts every request, and can be told to misbehave;
//   - Browser tries pages with cookies and knows nothing of the hub;
//   - Hub starts the hub as a child process, the same binary with serve, and stops it;
//   - stage/idp is an identity provider on the public SDK alone.
//
// The stage looks at a hub from outside: it imports no room of it.
package stage
