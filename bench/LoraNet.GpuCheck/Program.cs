using LoraNet.GpuCheck;

// Checks and times the generated GPU kernels. Usage: LoraNet.GpuCheck dump DIR | PART...   (parts: see GpuRun)
if (args is ["dump", string folder]) Dump.Write(folder);
else return GpuRun.Run(args);
return 0;
