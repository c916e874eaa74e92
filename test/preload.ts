// Loaded before every test file (bunfig.toml).
process.env["NO_COLOR"] = "1";
