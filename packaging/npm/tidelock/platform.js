// Where the binary for this machine is: in a package of its own, of which npm installs the one that fits.

const name = `@tidelock/${process.platform}-${process.arch}`;

/** The path of the binary. Throws with what to do where there is none. */
exports.binary = () => {
  try {
    return require.resolve(`${name}/bin/tidelock`);
  } catch {
    throw new Error(
      `tidelock: the package ${name} is not installed. npm leaves it out with --no-optional and --omit=optional, and on ` +
        `systems that tidelock is not built for (it is for Linux with glibc 2.34 or later on x86-64). ` +
        `"cargo install --path crates/tidelock" in a checkout builds it from source.`,
    );
  }
};
