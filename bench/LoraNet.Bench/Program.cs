if (args is ["gemm", .. string[] rest]) LoraNet.Bench.GemmReport.Run(rest);
else if (args is ["decode", .. string[] decode]) LoraNet.Bench.DecodeReport.Run(decode);
else if (args is ["tile-kernel"]) File.WriteAllText(LoraNet.Generators.TileKernelSource.Path, LoraNet.Generators.TileKernelSource.Write());
else BenchmarkDotNet.Running.BenchmarkSwitcher.FromAssembly(typeof(Program).Assembly).Run(args);
