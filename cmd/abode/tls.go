package main

import (
	"errors"
	"path/filepath"

	"github.com/moby/moby/client"
	"github.com/spf13/pflag"
)

// certificates are files by which this program and an engine that is reached
// by TCP know each other.
type certificates struct{ ca, cert, key string }

func (c *certificates) register(f *pflag.FlagSet) {
	f.StringVar(&c.ca, "tlscacert", "", "for tcp://: file of the CA of the engine's certificate (default $ABODE_CERT_PATH/ca.pem)")
	f.StringVar(&c.cert, "tlscert", "", "for tcp://: file of this client's certificate (default $ABODE_CERT_PATH/cert.pem)")
	f.StringVar(&c.key, "tlskey", "", "for tcp://: file of its key (default $ABODE_CERT_PATH/key.pem)")
}

// option makes the API's client speak TLS. dir is where files are that no flag
// names; empty: nowhere.
func (c certificates) option(dir string) (client.Opt, error) {
	for file, name := range map[*string]string{&c.ca: "ca.pem", &c.cert: "cert.pem", &c.key: "key.pem"} {
		switch {
		case *file != "":
		case dir == "":
			return nil, errors.New("an engine on TCP knows its clients by their certificates: give --tlscacert, --tlscert and --tlskey, or the directory of ca.pem, cert.pem and key.pem in ABODE_CERT_PATH")
		default:
			*file = filepath.Join(dir, name)
		}
	}
	return client.WithTLSClientConfig(c.ca, c.cert, c.key), nil
}
