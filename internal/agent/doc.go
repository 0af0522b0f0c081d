// Package agent is the contract between the daemon and an agent, the program
// that creates, watches and ends containers on the kernel that it stands on:
// a host process on the host kernel, PID 1 in a guest. The same binary and the
// same messages serve both; nothing here says which wall a container has.
//
// # Channel
//
// A channel is any reliable byte stream: a unix socket to the agent of the
// host, a virtio-serial port to the agent of a guest. Connect makes a stream
// usable after either side was restarted: the daemon sends a greeting with a
// fresh nonce, the agent skips whatever bytes an earlier session left in the
// pipe, answers with the nonce, and both speak yamux from then on. The daemon
// is the yamux client. One session is live at a time on one channel.
//
// # Calls
//
// Each call is one yamux stream. The caller writes one request frame, the
// agent answers with one response frame; a frame is a 4-byte big-endian length
// and that many bytes of JSON, at most MaxFrame. After the response some calls
// carry on with raw bytes or I/O frames on the same stream, as their comment
// says. Closing the stream cancels the call. Calls are concurrent; calls on
// one container are serialised by the agent where they must be.
//
// Nothing that arrives on a channel is trusted: the agent of a guest is as
// hostile as its guest. The client bounds every frame, number and string.
package agent
