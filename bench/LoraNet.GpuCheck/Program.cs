using LoraNet.GpuCheck;

// Checks and times the generated GPU kernels. Usage: LoraNet.GpuCheck dump DIR | PART...   (parts: gemm-check gemm-time ...)
if (args is ["dump", string folder]) Dump.Write(folder);
else return GpuRun.Run(args);
return 0;
