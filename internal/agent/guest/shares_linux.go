package guest

import (
	"io"
	"sync"
)

// ShareChannel returns what opens a session on the port of the host's share
// process. The port itself is opened with the first, and stays open.
func ShareChannel() func() (io.ReadWriteCloser, error) {
	open := sync.OnceValues(func() (*channel, error) { return openChannel(portDir + "/" + SharePort) })
	return func() (io.ReadWriteCloser, error) {
		c, err := open()
		if err != nil {
			return nil, err
		}
		return c.session(), nil
	}
}
