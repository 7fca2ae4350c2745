#!/bin/sh
# What cargo calls instead of rustc under `make fuzz`: counts executed regions in the code that is fuzzed, and little else,
# so that the counters stay few enough to be read after every input. (The program itself is among it to be linked with the runtime.)
case " $* " in
*" --crate-name touchseal_sops "* | *" --crate-name touchseal_keyring "* | *" --crate-name touchseal_plan "* | *" --crate-name minijinja "* | *" --crate-name saphyr_parser "* | *" --crate-name fuzz "*)
	exec "$@" -Cinstrument-coverage -Cllvm-args=-runtime-counter-relocation
	;;
esac
exec "$@"
