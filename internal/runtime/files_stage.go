package runtime

import "errors"

func filesMain(ctl *control) error { return errors.New("not yet") }
