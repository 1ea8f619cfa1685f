using System.Runtime.InteropServices;
using LoraNet.Cli;

// The first Ctrl+C lets the step finish and saves; the second stops at once.
using CancellationTokenSource stop = new();
void Interrupt(PosixSignalContext context)
{
    context.Cancel = true;
    if (stop.IsCancellationRequested) Environment.Exit(ExitCodes.Interrupted);
    Console.Error.WriteLine("Stopping after this step; press Ctrl+C again to stop at once.");
    stop.Cancel();
}

using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Interrupt);
using PosixSignalRegistration terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Interrupt);
return CommandLine.Run(args, Console.Out, Console.Error, CommandHost.ForProcess(stop.Token));
