package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/cli/dockerconfig"
	"github.com/abode-run/abode/internal/cli/stream"
)

func newLogin(a *app) *cobra.Command {
	var user, password string
	var fromStdin bool
	cmd := &cobra.Command{
		Use:   "login [OPTIONS] [REGISTRY]",
		Short: "Log in to a registry",
		Long: `Log in to a registry, docker.io unless one is named. The credentials are
checked, and kept where Docker keeps them: in the helper that config.json
($DOCKER_CONFIG or ~/.docker) names, else in config.json.`,
		Example: `  abode login
  echo "$TOKEN" | abode login -u bot --password-stdin registry.example.org`,
		Args: between(0, 1),
	}
	f := cmd.Flags()
	f.StringVarP(&user, "username", "u", "", "user name")
	f.StringVarP(&password, "password", "p", "", "password; others may see it: use --password-stdin")
	f.BoolVar(&fromStdin, "password-stdin", false, "read the password from stdin")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		var server string
		if len(args) == 1 {
			server = args[0]
			if err := dockerconfig.CheckAddress(server); err != nil {
				return err
			}
		}
		config, err := loadConfig()
		if err != nil {
			return err
		}
		if cmd.Flags().Changed("password") {
			if fromStdin {
				return errors.New("--password and --password-stdin are mutually exclusive")
			}
			fmt.Fprintln(a.err, "WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
		}
		if fromStdin {
			if user == "" {
				return errors.New("the --password-stdin option requires --username")
			}
			if password, err = readSecret(a.in); err != nil {
				return err
			}
		} else if password == "" {
			if user, password, err = a.ask(config, server, user); err != nil {
				return err
			}
		}
		if user == "" || password == "" {
			return errors.New("username and password must not be empty")
		}
		return a.login(ctx, c, config, registry.AuthConfig{
			Username: user, Password: password, ServerAddress: dockerconfig.Key(server),
		})
	})
	return cmd
}

// login has the engine check the credentials, then keeps them.
func (a *app) login(ctx context.Context, c *client.Client, config *dockerconfig.File, auth registry.AuthConfig) error {
	r, err := c.RegistryLogin(ctx, client.RegistryLoginOptions{
		Username: auth.Username, Password: auth.Password, ServerAddress: auth.ServerAddress,
	})
	if err != nil {
		return err
	}
	if r.Auth.IdentityToken != "" {
		auth.Password, auth.IdentityToken = "", r.Auth.IdentityToken
	}
	inFile, err := config.Set(auth)
	if err != nil {
		return err
	}
	if inFile {
		fmt.Fprintln(a.err, "WARNING! Your credentials are stored unencrypted in config.json. A credential helper (credsStore) keeps them safe.")
	}
	status := r.Auth.Status
	if status == "" {
		status = "Login Succeeded"
	}
	fmt.Fprintln(a.out, status)
	return nil
}

// ask asks for what the flags did not give; a name that is kept is offered.
func (a *app) ask(config *dockerconfig.File, server, user string) (string, string, error) {
	if !stream.IsTerminal(a.in) {
		return "", "", errors.New("cannot perform an interactive login from a non TTY device; use --username and --password-stdin")
	}
	in := bufio.NewReader(a.in)
	if user == "" {
		known, _ := config.Get(server)
		prompt := "Username: "
		if known.Username != "" {
			prompt = fmt.Sprintf("Username (%s): ", known.Username)
		}
		fmt.Fprint(a.out, prompt)
		line, err := in.ReadString('\n')
		if err != nil {
			return "", "", err
		}
		if user = strings.TrimSpace(line); user == "" {
			user = known.Username
		}
	}
	fmt.Fprint(a.out, "Password: ")
	password, err := a.withoutEcho(func() (string, error) { return in.ReadString('\n') })
	fmt.Fprintln(a.out)
	return user, strings.TrimRight(password, "\r\n"), err
}

// withoutEcho reads while the terminal shows nothing of what is typed.
func (a *app) withoutEcho(read func() (string, error)) (string, error) {
	fd := int(a.in.Fd())
	old, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return "", err
	}
	quiet := *old
	quiet.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &quiet); err != nil {
		return "", err
	}
	restore := stream.OnExit(func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, old) })
	defer restore()
	return read()
}

// readSecret reads all of in; the newline at its end isn't part of it.
func readSecret(in io.Reader) (string, error) {
	b, err := io.ReadAll(io.LimitReader(in, 1<<20))
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

func newLogout(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "logout [REGISTRY]",
		Short: "Forget the credentials for a registry",
		Long:  `Forget the credentials for a registry, docker.io unless one is named.`,
		Example: `  abode logout
  abode logout registry.example.org`,
		Args: between(0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			var server string
			if len(args) == 1 {
				server = args[0]
			}
			config, err := loadConfig()
			if err != nil {
				return err
			}
			found, err := config.Erase(server)
			if err != nil {
				return err
			}
			if !found {
				fmt.Fprintln(a.out, "Not logged in to", dockerconfig.Key(server))
				return nil
			}
			fmt.Fprintln(a.out, "Removing login credentials for", dockerconfig.Key(server))
			return nil
		},
	}
}
