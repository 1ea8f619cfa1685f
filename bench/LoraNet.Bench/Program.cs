if (args is ["gemm", .. string[] rest]) LoraNet.Bench.GemmReport.Run(rest);
else BenchmarkDotNet.Running.BenchmarkSwitcher.FromAssembly(typeof(Program).Assembly).Run(args);
