package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// errInterrupted ends a question that was answered with Ctrl-C.
var errInterrupted = errors.New("interrupted")

// errInputEnded ends a question that nobody is there to answer.
var errInputEnded = errors.New("the input ended before the question was answered")

// interactive reports whether somebody can be asked.
func (a *app) interactive() bool { return isTerminal(a.in) }

// ask prints a question and reads one line, without the white space around it. Bytes are read one by one: what is typed
// ahead belongs to the next question, which may be a password's.
func (a *app) ask(question string) (string, error) {
	fmt.Fprint(a.err, question)
	line, err := await(a.ctx, func() (string, error) { return readLine(a.in) })
	if err != nil {
		fmt.Fprintln(a.err)
		return "", err
	}
	return strings.TrimSpace(line), nil
}

// askPassword reads a line that is not shown. It is not trimmed.
func (a *app) askPassword(question string) (string, error) {
	f, ok := a.in.(*os.File)
	if !ok {
		return "", errors.New("a password can be asked at a terminal only")
	}
	fd := int(f.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("ask for a password: %w", err)
	}
	fmt.Fprint(a.err, question)
	password, err := await(a.ctx, func() (string, error) {
		b, err := term.ReadPassword(fd)
		return string(b), err
	})
	fmt.Fprintln(a.err)
	if errors.Is(err, errInterrupted) {
		err = errors.Join(err, term.Restore(fd, before))
	}
	return password, err
}

// await waits for a person, or for the signal that ends the command.
func await(ctx context.Context, read func() (string, error)) (string, error) {
	type answer struct {
		text string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		text, err := read()
		got <- answer{text, err}
	}()
	select {
	case a := <-got:
		if errors.Is(a.err, io.EOF) {
			return "", errInputEnded
		}
		return a.text, a.err
	case <-ctx.Done():
		return "", errInterrupted
	}
}

func readLine(r io.Reader) (string, error) {
	var line []byte
	var b [1]byte
	for {
		n, err := r.Read(b[:])
		if n == 1 {
			if b[0] == '\n' {
				return strings.TrimSuffix(string(line), "\r"), nil
			}
			line = append(line, b[0])
		}
		if err != nil {
			if len(line) > 0 && errors.Is(err, io.EOF) {
				return string(line), nil
			}
			return "", err
		}
		if len(line) > 4096 {
			return "", errors.New("the answer is too long")
		}
	}
}

// confirm asks before something that cannot be undone. It says what will happen; at a terminal it wants a yes, and in production the name typed. Without a
// terminal it goes ahead, but in production it wants --yes.
func (a *app) confirm(yes bool, name, what string) error {
	if yes {
		return nil
	}
	what = printable(what)
	production := a.settings.production()
	if !a.interactive() {
		if production {
			return fmt.Errorf("this is production (OPENWAY_ENV): give --yes to %s", what)
		}
		return nil
	}
	if production {
		got, err := a.ask(fmt.Sprintf("PRODUCTION. This will %s.\nType %s to go on: ", what, printable(name)))
		if err != nil {
			return err
		}
		if got != name {
			return errors.New("nothing was done: that is not the name")
		}
		return nil
	}
	got, err := a.ask(fmt.Sprintf("This will %s. Go on? [y/N] ", what))
	if err != nil {
		return err
	}
	switch strings.ToLower(got) {
	case "y", "yes":
		return nil
	}
	return errors.New("nothing was done")
}

// passwordFlags are the ways to give a password that keep it off the command line, where everybody on the machine could read it.
type passwordFlags struct {
	PasswordFile  string `placeholder:"FILE" help:"Read the password from the first line of this file."`
	PasswordStdin bool   `help:"Read the password from the first line of standard input."`
}

// given returns the password that was given by flags or OPENWAY_PASSWORD, not trimmed but for the line's end.
func (p passwordFlags) given(a *app) (password string, ok bool, err error) {
	switch {
	case p.PasswordStdin:
		password, err = a.firstLine("--password-stdin")
		if err != nil {
			return "", false, err
		}
	case p.PasswordFile != "":
		data, err := readSmall(p.PasswordFile)
		if err != nil {
			return "", false, settingError("--password-file", "%w", err)
		}
		password, _, _ = strings.Cut(string(data), "\n")
		password = strings.TrimSuffix(password, "\r")
	default:
		password = os.Getenv("OPENWAY_PASSWORD")
		if password == "" {
			return "", false, nil
		}
	}
	switch {
	case password != "":
		return password, true, nil
	case p.PasswordStdin:
		return "", false, usagef("--password-stdin: the first line of standard input is empty")
	}
	return "", false, usagef("--password-file: the first line of %s is empty", p.PasswordFile)
}

// firstLine reads what a flag says stands on the first line of standard input.
func (a *app) firstLine(flag string) (string, error) {
	line, err := await(a.ctx, func() (string, error) { return readLine(a.in) })
	if errors.Is(err, errInputEnded) {
		return "", usagef("%s: standard input is empty", flag)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	return line, nil
}

// newPassword asks for a new password twice until both are alike. Empty is an answer too.
func (a *app) newPassword() (string, error) {
	for {
		first, err := a.askPassword("Password: ")
		if err != nil {
			return "", err
		}
		if first == "" {
			return "", nil
		}
		again, err := a.askPassword("Password (again): ")
		if err != nil {
			return "", err
		}
		if first == again {
			return first, nil
		}
		fmt.Fprintln(a.err, "Error: Your passwords didn't match.")
	}
}
