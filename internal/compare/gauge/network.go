package gauge

import (
	"crypto/subtle"
	"errors"
	"io"
	"net"
	"time"
)

// A connection begins with the secret and a letter for what it is for.
const (
	SecretLength = 26
	sink         = 'i' // takes all until its end, and answers with a byte
	source       = 'o' // sends until it is closed
	echo         = 'e' // sends each byte back
)

const (
	TransferTime = time.Second
	warmTime     = 300 * time.Millisecond // before: windows grow, code is translated
	EchoTime     = 500 * time.Millisecond
	warmEchoes   = 50
	talkTime     = 30 * time.Second // that a connection may take
	transferSize = 256 << 10        // of a write and a read
)

// listen serves connections until the program's end.
func listen(secret string) (port int, err error) {
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		return 0, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_ = serve(c, secret) // the other side tells what went wrong
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func serve(c net.Conn, secret string) error {
	c.SetDeadline(time.Now().Add(talkTime))
	head := make([]byte, SecretLength+1)
	if _, err := io.ReadFull(c, head); err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(head[:SecretLength], []byte(secret)) != 1 {
		return errors.New("a stranger")
	}
	b := make([]byte, transferSize)
	switch head[SecretLength] {
	case sink:
		for {
			_, err := c.Read(b)
			if err == io.EOF {
				_, err = c.Write(b[:1])
				return err
			}
			if err != nil {
				return err
			}
		}
	case source:
		for {
			if _, err := c.Write(b); err != nil {
				return err
			}
		}
	case echo:
		for {
			if _, err := io.ReadFull(c, b[:1]); err != nil {
				return err
			}
			if _, err := c.Write(b[:1]); err != nil {
				return err
			}
		}
	}
	return nil
}
