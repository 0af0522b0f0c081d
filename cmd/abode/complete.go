package main

import (
	"strings"

	"github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

// completions is what cobra calls to complete an argument.
type completions = func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective)

// completers tell what the arguments of commands are; the key is the last
// word of the command's path.
func (a *app) completers() map[string]completions {
	running, all, images := a.containerNames(false), a.containerNames(true), a.imageNames
	first := func(f completions) completions {
		return func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return f(cmd, args, toComplete)
		}
	}
	return map[string]completions{
		"run": first(images), "create": first(images), "history": first(images), "tag": first(images), "rmi": images, "save": images,
		"start": all, "rm": all, "inspect": all, "logs": first(all), "diff": first(all), "export": first(all), "rename": first(all), "wait": all,
		"update": all, "port": first(running), "attach": first(running), "exec": first(running), "top": first(running), "stats": running,
		"stop": running, "restart": all, "kill": running, "pause": running, "unpause": running,
	}
}

// complete gives the arguments and flags of a command's own their values.
func (a *app) complete(c *cobra.Command) {
	if f, ok := a.completers()[c.Name()]; ok && c.ValidArgsFunction == nil {
		c.ValidArgsFunction = f
	}
	for flag, values := range map[string][]string{
		"isolation": {"container\tthe host's kernel", "vm\ta kernel of its own", "default\tthe engine's choice"},
		"pull":      {"always", "missing", "never"},
		"restart":   {"no", "always", "unless-stopped", "on-failure"},
		"type":      {"container", "image", "network", "volume"},
	} {
		if c.Flags().Lookup(flag) != nil {
			_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
		}
	}
}

// asker is a client for completion: pressing a key starts no engine.
func (a *app) asker() (*client.Client, error) {
	a.host().Passive = true
	return a.client()
}

func (a *app) containerNames(all bool) completions {
	return func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		c, err := a.asker()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		r, err := c.ContainerList(cmd.Context(), client.ContainerListOptions{All: all})
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var names []string
		for _, item := range r.Items {
			for _, n := range item.Names {
				names = append(names, strings.TrimPrefix(n, "/")+"\t"+item.Image)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

func (a *app) imageNames(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	c, err := a.asker()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	r, err := c.ImageList(cmd.Context(), client.ImageListOptions{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, item := range r.Items {
		for _, t := range item.RepoTags {
			names = append(names, t)
			if name, ok := strings.CutSuffix(t, ":latest"); ok {
				names = append(names, name)
			}
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
